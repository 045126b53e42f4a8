//! What both ways take, as bars in an SVG.

use std::{error::Error, path::Path};

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    palette::color,
    timing::Timing,
    ways::{CALL_BYTES, PASSES},
};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Result = std::result::Result<(), Box<dyn Error>>;

const WIDTH: u32 = 960;
/// Of what is over the bars, of the two bars of a number of threads, and of the axis.
const HEAD: u32 = 124;
const PAIR: u32 = 104;
const FOOT: u32 = 56;
const MARGIN: i32 = 16;

/// A bar, where the next one is 1 further down.
const BAR: f64 = 0.66;
const FAINT: RGBColor = RGBColor(108, 116, 126);

/// A bar for each way and number of threads. That of the passes has a part for each.
pub fn draw(path: &Path, timings: &[Timing], parameters: usize, machine: &str) -> Result {
    let height = HEAD + PAIR * timings.len() as u32 + FOOT;
    let root = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    heading(&root, parameters, machine)?;

    let longest = timings.iter().map(|timing| timing.together.max(timing.call)).fold(0.0, f64::max);
    let (_, bars) = root.split_vertically(HEAD);
    let mut chart = ChartBuilder::on(&bars)
        .margin_right(MARGIN)
        .x_label_area_size(FOOT - 8)
        .y_label_area_size(176)
        .build_cartesian_2d(0.0..1.75 * longest, 2.0 * timings.len() as f64..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_label_formatter(&|x| milliseconds(*x, longest))
        .x_desc("milliseconds a step, median")
        .label_style(("sans-serif", 15))
        .axis_desc_style(("sans-serif", 16))
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.18))
        .draw()?;
    for (timing, y) in timings.iter().zip((0..).map(|k| 2.0 * f64::from(k) + 0.5)) {
        let threads = if timing.threads == 1 {
            "1 thread".to_owned()
        } else {
            format!("{} threads", timing.threads)
        };
        let mut start = 0.0;
        for (k, time) in timing.passes.iter().enumerate() {
            chart.draw_series([bar(start, start + time, y, k)])?;
            start += time;
        }
        chart.draw_series([bar(0.0, timing.call, y + 1.0, PASSES.len())])?;

        let pass_bytes = PASSES.iter().map(|(_, bytes)| bytes).sum();
        let rows = [("passes", timing.together, pass_bytes), ("one call", timing.call, CALL_BYTES)];
        for ((name, time, bytes), y) in rows.into_iter().zip([y, y + 1.0]) {
            let nanoseconds = 1e6 * time / parameters as f64;
            let cost = format!(
                "{} ms: {nanoseconds:.2} ns and {bytes} bytes a parameter",
                milliseconds(time, longest)
            );
            let (left, middle) = chart.backend_coord(&(0.0, y));
            let (right, _) = chart.backend_coord(&(time, y));
            write(&root, &format!("{threads}, {name}"), (left - 10, middle), HPos::Right)?;
            write(&root, &cost, (right + 10, middle), HPos::Left)?;
        }
    }
    root.present()?;
    Ok(())
}

/// As many digits as are worth it where the longest bar has this many milliseconds.
fn milliseconds(x: f64, longest: f64) -> String {
    if longest < 20.0 { format!("{x:.1}") } else { format!("{x:.0}") }
}

fn bar(from: f64, to: f64, y: f64, k: usize) -> Rectangle<(f64, f64)> {
    Rectangle::new([(from, y - BAR / 2.0), (to, y + BAR / 2.0)], color_of(k).filled())
}

/// Of each pass, and after them of the one call.
fn color_of(k: usize) -> RGBColor {
    color([2, 12, 0, 3, 1][k])
}

/// What is over the bars.
fn heading(root: &Area, parameters: usize, machine: &str) -> Result {
    let title = format!("An offloaded AdamW step of {:.1} million parameters", parameters as f64 / 1e6);
    root.draw(&Text::new(title, (MARGIN, 12), ("sans-serif", 22)))?;
    let note = format!("bf16 gradients in, f32 weights and states, bf16 weights out; {machine}");
    root.draw(&Text::new(note, (MARGIN, 42), ("sans-serif", 15).into_font().color(&FAINT)))?;
    let names = PASSES.iter().map(|(name, _)| *name).chain(["everything in one call"]);
    for ((k, name), place) in names.enumerate().zip(0..) {
        let (x, y) = (MARGIN + place / 2 * 320, 80 + place % 2 * 24);
        root.draw(&Rectangle::new([(x, y - 6), (x + 18, y + 6)], color_of(k).filled()))?;
        write(root, name, (x + 26, y), HPos::Left)?;
    }
    Ok(())
}

/// A text that is centered vertically.
fn write(root: &Area, text: &str, at: (i32, i32), to: HPos) -> Result {
    let style = TextStyle::from(("sans-serif", 16).into_font()).pos(Pos::new(to, VPos::Center));
    root.draw(&Text::new(text, at, style))?;
    Ok(())
}
