//! Loss curves of all kinds of states, and their ratios to that of `f32`, as an SVG.

use std::{error::Error, ops::Range, path::Path};

use plotters::{coord::Shift, prelude::*};

use crate::{Results, palette::color, runs::Outcome};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Result = std::result::Result<(), Box<dyn Error + Send + Sync>>;

const SIZE: (u32, u32) = (1000, 800);
/// Room under the charts for the names.
const NAMES: u32 = 104;
const LINE: i32 = 24;
/// Ratios beyond are left out.
const RATIOS: Range<f64> = 0.7..1.4;

/// A chart of the losses for each model, and one of their ratios to those of `f32` under it.
pub fn draw(path: &Path, models: &[Results]) -> Result {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (charts, names) = root.split_vertically(SIZE.1 - NAMES);
    let (losses, ratios) = charts.split_vertically(390);
    let places =
        losses.split_evenly((1, models.len())).into_iter().zip(ratios.split_evenly((1, models.len())));
    for (results, (losses, ratios)) in models.iter().zip(places) {
        let curves: Vec<Vec<f64>> =
            results.runs.iter().map(|(_, outcomes)| mean_curve(outcomes)).collect();
        draw_losses(&losses, results.title, &curves)?;
        draw_ratios(&ratios, &curves)?;
    }
    draw_names(&names, &models[0])?;
    root.present()?;
    Ok(())
}

fn mean_curve(outcomes: &[Outcome]) -> Vec<f64> {
    let epochs = outcomes[0].losses.len();
    let mean = |k| outcomes.iter().map(|run| run.losses[k]).sum::<f64>() / outcomes.len() as f64;
    (0..epochs).map(mean).collect()
}

fn draw_losses(area: &Area, title: &str, curves: &[Vec<f64>]) -> Result {
    let losses = curves.iter().flatten().copied();
    let (low, high) = losses.fold((f64::MAX, 0.0_f64), |(low, high), y| (low.min(y), high.max(y)));
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(24)
        .y_label_area_size(72)
        .build_cartesian_2d(0..last(curves), (low / 1.3..high * 1.3).log_scale())?;
    chart
        .configure_mesh()
        .y_desc("mean training loss")
        .y_labels(6)
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .light_line_style(BLACK.mix(0.06))
        .bold_line_style(BLACK.mix(0.18))
        .y_label_formatter(&|y| format!("{y:.3}").trim_end_matches('0').trim_end_matches('.').to_owned())
        .draw()?;
    for (k, curve) in curves.iter().enumerate() {
        chart.draw_series(LineSeries::new((0..).zip(curve.iter().copied()), style(k)))?;
    }
    Ok(())
}

fn draw_ratios(area: &Area, curves: &[Vec<f64>]) -> Result {
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(72)
        .build_cartesian_2d(0..last(curves), RATIOS)?;
    chart
        .configure_mesh()
        .x_desc("epoch")
        .y_desc("ratio to f32")
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .light_line_style(BLACK.mix(0.06))
        .bold_line_style(BLACK.mix(0.18))
        .y_label_formatter(&|y| format!("{y:.1}"))
        .draw()?;
    for (k, curve) in curves.iter().enumerate() {
        let ratios = curve.iter().zip(&curves[0]).map(|(ours, plain)| ours / plain);
        let points: Vec<(i32, f64)> = (0..).zip(ratios).collect();
        for inside in points.split(|(_, ratio)| !RATIOS.contains(ratio)) {
            chart.draw_series(LineSeries::new(inside.iter().copied(), style(k)))?;
        }
    }
    Ok(())
}

fn last(curves: &[Vec<f64>]) -> i32 {
    curves[0].len() as i32 - 1
}

/// Others lie on that of `f32`, and leave its borders to be seen.
fn style(k: usize) -> ShapeStyle {
    if k == 0 { RGBColor(190, 196, 204).stroke_width(6) } else { color(k - 1).stroke_width(2) }
}

fn draw_names(area: &Area, results: &Results) -> Result {
    let note = "Means over all seeds. States are rounded at random, but where \"nearest\" is said.";
    area.draw(&Text::new(note, (84, 0), ("sans-serif", 15)))?;
    for (k, (entry, _)) in results.runs.iter().enumerate() {
        let (x, y) = (84 + k as i32 / 3 * 300, 34 + k as i32 % 3 * LINE);
        area.draw(&PathElement::new([(x, y), (x + 26, y)], style(k)))?;
        area.draw(&Text::new(entry.name, (x + 34, y - 8), ("sans-serif", 15)))?;
    }
    Ok(())
}
