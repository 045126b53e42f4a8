//! The losses, and some words in the plane of their vectors' two principal components, as an SVG.

use std::{error::Error, ops::Range, path::Path};

use plotters::{coord::Shift, prelude::*};

use crate::{
    model::Model,
    palette::color,
    text::Text as Novels,
    training::{Losses, Trained},
};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

const SIZE: (u32, u32) = (1040, 660);
/// Width of the losses' chart.
const LEFT: u32 = 350;
/// What is left above and under the words.
const HEAD: u32 = 44;
const FOOT: u32 = 64;
/// What is left beside them, for labels.
const SIDE: f64 = 30.0;
/// A word's dot, its height, and about the width of a letter.
const DOT: i32 = 3;
const LABEL: i32 = 14;
const LETTER: i32 = 8;
/// Of the search for a principal component.
const ITERATIONS: u32 = 300;

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

/// A word, the place of its group, and where it lies.
struct Word {
    name: &'static str,
    group: usize,
    at: [f64; 2],
}

pub fn draw(path: &Path, trained: &Trained, text: &Novels) -> Result {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(LEFT);
    draw_losses(&left, &trained.losses)?;
    draw_words(&right, text, &trained.model)?;
    root.present()?;
    Ok(())
}

fn draw_losses(area: &Area, losses: &[Losses]) -> Result {
    let all = losses.iter().flat_map(|losses| [losses.training, losses.held_out]);
    let mut chart = ChartBuilder::on(area)
        .caption("Mean loss of a pair", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..losses[losses.len() - 1].epoch, with_room(all))?;
    chart
        .configure_mesh()
        .x_desc("epoch")
        .x_labels(6)
        .y_labels(8)
        .max_light_lines(1)
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .light_line_style(BLACK.mix(0.06))
        .bold_line_style(BLACK.mix(0.18))
        .x_label_formatter(&f64::to_string)
        .y_label_formatter(&|y| format!("{y:.2}"))
        .draw()?;
    let training = losses.iter().map(|losses| (losses.epoch, losses.training)).collect();
    let held_out = losses.iter().map(|losses| (losses.epoch, losses.held_out)).collect();
    let curves: [(&str, Vec<(f64, f64)>); 2] =
        [("training", training), ("held-out paragraphs", held_out)];
    for (k, (name, points)) in curves.into_iter().enumerate() {
        let style = color(k).stroke_width(2);
        chart
            .draw_series(LineSeries::new(points, style))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font(("sans-serif", 15))
        .margin(14)
        .draw()?;
    Ok(())
}

/// The range of these, and a bit on both sides.
fn with_room(values: impl Iterator<Item = f64>) -> Range<f64> {
    let finite = values.filter(|value| value.is_finite());
    let (low, high) = finite.fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(x), high.max(x)));
    if low > high {
        return 0.0..1.0;
    }
    let room = (0.06 * (high - low)).max(1e-3);
    low - room..high + room
}

fn draw_words(area: &Area, text: &Novels, model: &Model) -> Result {
    let words = words(text, model)?;
    let [x, y] = [0, 1].map(|axis| with_room(words.iter().map(|word| word.at[axis])));
    let (width, height) = area.dim_in_pixel();
    let (width, height) = (f64::from(width), f64::from(height - HEAD - FOOT));
    let pixel = |at: [f64; 2]| {
        let (right, down) = ((at[0] - x.start) / (x.end - x.start), (y.end - at[1]) / (y.end - y.start));
        ((right * (width - SIDE)) as i32, HEAD as i32 + (down * height) as i32)
    };
    let places: Vec<(i32, i32)> = words.iter().map(|word| pixel(word.at)).collect();
    let mut taken: Vec<Frame> = places.iter().map(|place| Frame::dot(*place)).collect();
    for (word, &place) in words.iter().zip(&places) {
        let label = Frame::label(word.name, place, &taken);
        let style = color(word.group);
        area.draw(&Circle::new(place, DOT, style.filled()))?;
        area.draw(&Text::new(word.name, label.corner, ("sans-serif", LABEL).into_font().color(&style)))?;
        taken.push(label);
    }
    let title = "Words by the two principal components of their vectors";
    area.draw(&Text::new(title, (20, 14), ("sans-serif", 18)))?;
    for (k, (group, _)) in GROUPS.iter().enumerate() {
        let (x, y) = (20 + 165 * (k as i32 % 4), (SIZE.1 - FOOT) as i32 + 14 + 24 * (k as i32 / 4));
        area.draw(&Circle::new((x, y + 6), 5, color(k).filled()))?;
        area.draw(&Text::new(*group, (x + 12, y), ("sans-serif", 14)))?;
    }
    Ok(())
}

/// What takes up room, by its upper left corner.
struct Frame {
    corner: (i32, i32),
    size: (i32, i32),
}

impl Frame {
    fn dot((x, y): (i32, i32)) -> Self {
        Self { corner: (x - DOT, y - DOT), size: (2 * DOT, 2 * DOT) }
    }

    /// A word beside its dot, where it covers the least of others.
    fn label(word: &str, (x, y): (i32, i32), taken: &[Self]) -> Self {
        let (width, height) = (word.len() as i32 * LETTER, LABEL);
        let columns = [x + DOT + 2, x - width / 2, x - DOT - 2 - width];
        let rows = [y - height / 2, y - DOT - height, y + DOT];
        let around = rows.into_iter().flat_map(|y| columns.map(|x| (x, y)));
        let frames = around
            .filter(|&(left, top)| left != columns[1] || top != rows[0])
            .map(|corner| Self { corner, size: (width, height) });
        let covered = |frame: &Self| taken.iter().map(|other| frame.common_area(other)).sum::<i32>();
        frames.min_by_key(covered).expect("there are eight")
    }

    fn common_area(&self, other: &Self) -> i32 {
        let common =
            |a: i32, size: i32, b: i32, other: i32| ((a + size).min(b + other) - a.max(b)).max(0);
        common(self.corner.0, self.size.0, other.corner.0, other.size.0)
            * common(self.corner.1, self.size.1, other.corner.1, other.size.1)
    }
}

/// The words of all groups, each at its two principal components.
fn words(text: &Novels, model: &Model) -> Result<Vec<Word>, String> {
    let named = (0..)
        .zip(GROUPS)
        .flat_map(|(group, (_, names))| names.split(' ').map(move |name| (group, name)));
    let named: Vec<(usize, &str)> = named.collect();
    let mut vectors = Vec::new();
    for (_, name) in &named {
        let vector = model.vector(text.number(name)?).iter().map(|&x| f64::from(x));
        vectors.push(with_length_1(vector.collect()));
    }
    let mean: Vec<f64> = (0..model.dimension)
        .map(|k| vectors.iter().map(|vector| vector[k]).sum::<f64>() / vectors.len() as f64)
        .collect();
    for vector in &mut vectors {
        vector.iter_mut().zip(&mean).for_each(|(x, mean)| *x -= mean);
    }
    let first = take_component(&mut vectors);
    let second = take_component(&mut vectors);
    let words = named.into_iter().zip(first.into_iter().zip(second));
    Ok(words.map(|((group, name), (x, y))| Word { name, group, at: [x, y] }).collect())
}

/// The vectors' parts along their principal component, by power iteration. They lose them.
fn take_component(vectors: &mut [Vec<f64>]) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut axis = vectors[0].clone();
    for _ in 0..ITERATIONS {
        let mut next = vec![0.0; axis.len()];
        for vector in &*vectors {
            let part = dot(vector, &axis);
            next.iter_mut().zip(vector).for_each(|(next, x)| *next += part * x);
        }
        axis = with_length_1(next);
    }
    let take = |vector: &mut Vec<f64>| {
        let part = dot(vector, &axis);
        vector.iter_mut().zip(&axis).for_each(|(x, axis)| *x -= part * axis);
        part
    };
    vectors.iter_mut().map(take).collect()
}

fn with_length_1(mut vector: Vec<f64>) -> Vec<f64> {
    let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
    vector.iter_mut().for_each(|x| *x /= length);
    vector
}
