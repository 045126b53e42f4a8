//! Loss curves of all kinds of runs, and their ratios to that of `f32`, as an SVG.

use std::{error::Error, ops::Range, path::Path};

use plotters::{
    chart::ChartContext,
    coord::{Shift, types::RangedCoordi32},
    prelude::*,
};

use crate::{
    Entry, Results,
    palette::color,
    runs::{Held, Outcome, StateType, WeightType},
};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordi32, Y>>;
type Result = std::result::Result<(), Box<dyn Error + Send + Sync>>;

const SIZE: (u32, u32) = (1000, 824);
/// Room under the charts for the names.
const NAMES: u32 = 128;
const LINE: i32 = 24;
/// Names above each other.
const ROWS: i32 = 4;
/// Lengths of a dash and of the room after it.
const DASHES: (u32, u32) = (7, 5);
/// Ratios beyond are left out.
const RATIOS: Range<f64> = 0.7..1.4;

/// A kind of run with its mean losses.
type Curve = (&'static Entry, Vec<f64>);

/// A chart of the losses for each model, and one of their ratios to those of `f32` under it.
pub fn draw(path: &Path, models: &[Results]) -> Result {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (charts, names) = root.split_vertically(SIZE.1 - NAMES);
    let (losses, ratios) = charts.split_vertically(390);
    let places =
        losses.split_evenly((1, models.len())).into_iter().zip(ratios.split_evenly((1, models.len())));
    for (results, (losses, ratios)) in models.iter().zip(places) {
        let curve = |(entry, outcomes): &(&'static Entry, Vec<Outcome>)| (*entry, mean_curve(outcomes));
        let curves: Vec<Curve> = results.runs.iter().map(curve).collect();
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

fn draw_losses(area: &Area, title: &str, curves: &[Curve]) -> Result {
    let losses = curves.iter().flat_map(|(_, losses)| losses).copied();
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
    for (entry, losses) in curves {
        draw_line(&mut chart, (0..).zip(losses.iter().copied()).collect(), entry)?;
    }
    Ok(())
}

fn draw_ratios(area: &Area, curves: &[Curve]) -> Result {
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
    let plain = &curves[0].1;
    for (entry, losses) in curves {
        let ratios = losses.iter().zip(plain).map(|(ours, plain)| ours / plain);
        let points: Vec<(i32, f64)> = (0..).zip(ratios).collect();
        for inside in points.split(|(_, ratio)| !RATIOS.contains(ratio)) {
            draw_line(&mut chart, inside.to_vec(), entry)?;
        }
    }
    Ok(())
}

fn last(curves: &[Curve]) -> i32 {
    curves[0].1.len() as i32 - 1
}

fn draw_line<Y: Ranged<ValueType = f64>>(
    chart: &mut Chart<'_, '_, Y>,
    points: Vec<(i32, f64)>,
    entry: &Entry,
) -> Result {
    let (style, (dash, room)) = (style(entry), DASHES);
    if entry.held.nearest {
        chart.draw_series(DashedLineSeries::new(points, dash, room, style))?;
    } else {
        chart.draw_series(LineSeries::new(points, style))?;
    }
    Ok(())
}

/// A color for each way to hold numbers, whichever way they are rounded. Others lie on that of `f32`,
/// and leave its borders to be seen.
fn style(entry: &Entry) -> ShapeStyle {
    let Held { weights, states, .. } = entry.held;
    match (weights, states) {
        (WeightType::F32, StateType::F32) if entry.rate == 1.0 => {
            RGBColor(190, 196, 204).stroke_width(6)
        }
        (WeightType::F32, StateType::F32) => color(4).stroke_width(1),
        (WeightType::F32, StateType::Bf16) => color(0).stroke_width(2),
        (WeightType::F32, StateType::Bits8) => color(1).stroke_width(2),
        (WeightType::Split, _) => color(2).stroke_width(2),
        (WeightType::Bf16, StateType::F32) => color(3).stroke_width(2),
        (WeightType::Bf16, _) => color(12).stroke_width(2),
    }
}

fn draw_names(area: &Area, results: &Results) -> Result {
    let note = "Means over all seeds. Dashed: rounded to nearest, not at random. Where weights are not f32, \
                gradients are bf16.";
    area.draw(&Text::new(note, (84, 0), ("sans-serif", 15)))?;
    let (dash, room) = (DASHES.0 as i32, DASHES.1 as i32);
    for (k, (entry, _)) in (0..).zip(&results.runs) {
        let (x, y) = (84 + k / ROWS * 300, 34 + k % ROWS * LINE);
        let whole = 3 * dash + 2 * room;
        let (length, pieces) = if entry.held.nearest { (dash, 3) } else { (whole, 1) };
        for from in (0..pieces).map(|piece| x + piece * (dash + room)) {
            area.draw(&PathElement::new([(from, y), (from + length, y)], style(entry)))?;
        }
        area.draw(&Text::new(entry.name, (x + whole + 8, y - 8), ("sans-serif", 15)))?;
    }
    Ok(())
}
