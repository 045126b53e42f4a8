//! Curves over a logarithmic axis, as an SVG.

use std::{error::Error, ops::Range, path::Path};

use plotters::prelude::*;

use crate::palette::color;

/// A line with its name. Points that a logarithmic axis cannot show are left out.
pub struct Curve {
    pub name: String,
    pub points: Vec<f64>,
}

const SIZE: (u32, u32) = (960, 540);
/// The names stand in a column of their own, where no curve can run into them.
const NAMES: u32 = 190;
const LINE: i32 = 24;

/// Draws `curves`, whose points stand at 0, 1, 2, ... of the axis `x`.
pub fn draw(path: &Path, title: &str, x: &str, y: &str, curves: &[Curve]) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(SIZE.0 - NAMES);
    let last = curves.iter().map(|curve| curve.points.len()).max().unwrap_or(0);
    let mut chart = ChartBuilder::on(&left)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(76)
        .build_cartesian_2d(
            0..last.saturating_sub(1).max(1) as i32,
            visible_range(curves).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc(y)
        .label_style(("sans-serif", 15))
        .axis_desc_style(("sans-serif", 16))
        .light_line_style(BLACK.mix(0.06))
        .bold_line_style(BLACK.mix(0.18))
        .y_labels(6)
        .y_label_formatter(&|y| number(*y))
        .draw()?;
    for (k, curve) in curves.iter().enumerate() {
        let style = color(k).stroke_width(2);
        let points = (0..).zip(curve.points.iter().copied());
        chart.draw_series(LineSeries::new(points.filter(|&(_, y)| visible(y)), style))?;
        let y = 60 + LINE * k as i32;
        right.draw(&PathElement::new([(0, y), (26, y)], style))?;
        right.draw(&Text::new(curve.name.clone(), (34, y - 8), ("sans-serif", 16)))?;
    }
    root.present()?;
    Ok(())
}

fn visible(y: f64) -> bool {
    y.is_finite() && y > 0.0
}

/// Around everything visible, with some room, and a decade at least so that the axis has labels.
fn visible_range(curves: &[Curve]) -> Range<f64> {
    let points = curves.iter().flat_map(|curve| &curve.points).copied().filter(|&y| visible(y));
    let (low, high) = points.fold((f64::INFINITY, 0.0_f64), |(low, high), y| (low.min(y), high.max(y)));
    if low > high {
        return 0.1..10.0;
    }
    let high = 1.5 * high;
    (low / 1.5).min(high / 10.0)..high
}

/// A label of the axis. Its ticks come with errors of rounding in the last digits.
fn number(y: f64) -> String {
    let y = format!("{y:.2e}").parse().unwrap_or(y);
    if (1e-6..1e6).contains(&y) { format!("{y}") } else { format!("{y:e}") }
}
