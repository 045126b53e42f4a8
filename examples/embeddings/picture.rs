//! Some words in the plane of their vectors' two principal components, as an SVG.

use std::{error::Error, path::Path};

use plotters::prelude::*;

use crate::{
    model::{Model, dot},
    palette::color,
    text::Text as Novels,
};

const SIZE: (u32, u32) = (900, 640);
/// The least and largest pixels of dots.
const X: [f32; 2] = [60.0, 810.0];
const Y: [f32; 2] = [50.0, 560.0];
/// A word's dot, its height, and about the width of a letter.
const DOT: i32 = 3;
const LABEL: i32 = 14;
const LETTER: i32 = 8;

/// Words that are drawn, in groups of one color.
const GROUPS: [(&str, &str); 7] = [
    ("family", "mother father sister brother uncle daughter son husband wife"),
    ("Pride and Prejudice", "elizabeth darcy bingley wickham collins lydia bennet lizzy"),
    ("Sense and Sensibility", "elinor marianne willoughby lucy ferrars dashwood brandon jennings"),
    ("Emma", "emma harriet knightley weston elton fairfax churchill woodhouse"),
    ("time", "morning evening night day week fortnight months year hour"),
    ("numbers", "two three four five six ten hundred"),
    ("feelings", "love happiness hope pleasure pain affection sorrow regret esteem gratitude"),
];

pub fn draw(path: &Path, text: &Novels, model: &Model) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let title = "Words by the two principal components of their vectors";
    root.draw(&Text::new(title, (20, 14), ("sans-serif", 18)))?;
    for (k, (group, _)) in GROUPS.iter().enumerate() {
        let at = (20 + 220 * (k as i32 % 4), SIZE.1 as i32 - 54 + 24 * (k as i32 / 4));
        root.draw(&Circle::new(at, 5, color(k).filled()))?;
        root.draw(&Text::new(*group, (at.0 + 12, at.1 - 6), ("sans-serif", 14)))?;
    }
    let (mut words, mut vectors) = (Vec::new(), Vec::new());
    for (k, (_, group)) in GROUPS.iter().enumerate() {
        for word in group.split(' ') {
            words.push((word, color(k)));
            vectors.push(with_length_1(model.vector(0, text.number(word)).to_vec()));
        }
    }
    let [x, y] = principal_components(vectors);
    let places: Vec<_> = pixels(&x, X).zip(pixels(&y, Y)).collect();
    let mut taken: Vec<Frame> =
        places.iter().map(|(x, y)| [x - DOT, y - DOT, x + DOT, y + DOT]).collect();
    for ((word, color), at) in words.into_iter().zip(places) {
        let label = label(word, at, &taken);
        let style = ("sans-serif", LABEL).into_font().color(&color);
        root.draw(&Circle::new(at, DOT, color.filled()))?;
        root.draw(&Text::new(word, (label[0], label[1]), style))?;
        taken.push(label);
    }
    root.present()?;
    Ok(())
}

/// What takes up room: left, top, right and bottom.
type Frame = [i32; 4];

/// Where a word beside, above or under its dot covers the least of others.
fn label(word: &str, (x, y): (i32, i32), taken: &[Frame]) -> Frame {
    let width = word.len() as i32 * LETTER;
    let rows = [y - LABEL / 2, y - DOT - LABEL, y + DOT].into_iter();
    let corners = rows.flat_map(|y| [x + DOT + 2, x - DOT - 2 - width, x - width / 2].map(|x| (x, y)));
    let frames = corners.map(|(x, y)| [x, y, x + width, y + LABEL + 3]);
    let common = |a: &Frame, b: &Frame| {
        (a[2].min(b[2]) - a[0].max(b[0])).max(0) * (a[3].min(b[3]) - a[1].max(b[1])).max(0)
    };
    let covered = |frame: &Frame| taken.iter().map(|other| common(frame, other)).sum::<i32>();
    frames.min_by_key(covered).expect("there are nine")
}

/// So that the smallest of these is at one end, and the largest at the other.
fn pixels(parts: &[f32], [start, end]: [f32; 2]) -> impl Iterator<Item = i32> {
    let low = parts.iter().copied().fold(f32::MAX, f32::min);
    let high = parts.iter().copied().fold(f32::MIN, f32::max);
    parts.iter().map(move |x| (start + (x - low) / (high - low) * (end - start)) as i32)
}

/// Of each vector its parts along the two, by power iteration.
fn principal_components(mut vectors: Vec<Vec<f32>>) -> [Vec<f32>; 2] {
    let add = |to: &mut [f32], part: f32, x: &[f32]| {
        to.iter_mut().zip(x).for_each(|(to, x)| *to += part * x);
    };
    let share = 1.0 / vectors.len() as f32;
    let mut mean = vec![0.0; vectors[0].len()];
    vectors.iter().for_each(|vector| add(&mut mean, share, vector));
    vectors.iter_mut().for_each(|vector| add(vector, -1.0, &mean));
    [(); 2].map(|()| {
        let mut axis = vectors[0].clone();
        for _ in 0..300 {
            let mut next = vec![0.0; axis.len()];
            vectors.iter().for_each(|vector| add(&mut next, dot(vector, &axis), vector));
            axis = with_length_1(next);
        }
        let parts: Vec<f32> = vectors.iter().map(|vector| dot(vector, &axis)).collect();
        vectors.iter_mut().zip(&parts).for_each(|(vector, &part)| add(vector, -part, &axis));
        parts
    })
}

fn with_length_1(mut vector: Vec<f32>) -> Vec<f32> {
    let length = dot(&vector, &vector).sqrt();
    vector.iter_mut().for_each(|x| *x /= length);
    vector
}
