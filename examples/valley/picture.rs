//! The ways of the rules over the valley's contour lines, as an SVG.

use std::{error::Error, f64::consts::TAU};

use downhill::{Optimizer, rules};
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    CURVATURE, FORMULA, START, loss, palette,
    settings::{Setting, settings},
};

/// Where a rule was, from the start on.
pub struct Path {
    pub name: &'static str,
    pub settings: Vec<Setting>,
    /// The same for a rule wherever it is drawn.
    color: RGBColor,
    points: Vec<[f64; 2]>,
}

impl Path {
    pub fn new(rule: &dyn Optimizer, points: Vec<[f64; 2]>) -> Self {
        let (name, rules) = (rule.name(), rules());
        let place = rules.iter().position(|known| known.name() == name).expect("all rules are listed");
        Self { name, settings: settings(rule, &*rules[place]), color: palette::color(place), points }
    }

    pub fn least_loss(&self) -> f64 {
        self.points.iter().copied().map(loss).fold(f64::INFINITY, f64::min)
    }

    /// Does it stay in the part of the plane that is drawn?
    pub fn is_inside(&self) -> bool {
        let is_inside = |&[x, y]: &[f64; 2]| (X[0]..X[1]).contains(&x) && (Y[0]..Y[1]).contains(&y);
        self.points.iter().all(is_inside)
    }

    pub fn end(&self) -> [f64; 2] {
        self.points[self.points.len() - 1]
    }

    pub fn steps(&self) -> usize {
        self.points.len() - 1
    }
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// In units.
type Position = (i32, i32);

/// The backend rounds to whole units, so there are four of them in a pixel.
const UNITS: i32 = 4;
const WIDTH: i32 = 1000;
const MARGIN: i32 = 16;
const GAP: i32 = 16;
/// Room for what stands over a panel.
const HEAD: i32 = 44;

/// The part of the plane in every panel: all ways stay inside.
const X: [f64; 2] = [-4.6, 2.2];
const Y: [f64; 2] = [-1.6, 1.6];
/// The contour lines have the same distances from each other; the sixth goes through the start.
const CONTOURS: u32 = 8;
const START_CONTOUR: f64 = 6.0;
const CONTOUR_POINTS: u32 = 64;

const INK: RGBColor = RGBColor(28, 34, 42);
const FAINT: RGBColor = RGBColor(108, 116, 126);
const CONTOUR: RGBColor = RGBColor(172, 186, 202);
const HIGH: [f64; 3] = [218.0, 226.0, 236.0];
const LOW: [f64; 3] = [252.0, 253.0, 254.0];

/// A few wide panels over a grid of smaller ones.
pub fn draw(top: &[Path], grid: &[Path]) -> Result<String> {
    let mut svg = String::new();
    let panels = || Panel::row_by_row(4, 330);
    let height = panels().take(grid.len()).map(|panel| panel.below()).max().ok_or("no rule to draw")?;
    let root = SVGBackend::with_string(&mut svg, (units(WIDTH) as u32, units(height) as u32))
        .into_drawing_area();
    root.fill(&WHITE)?;
    heading(&root)?;
    for (path, panel) in top.iter().zip(Panel::row_by_row(3, 70)) {
        panel.draw(&root, path)?;
        panel.label_axes(&root)?;
    }
    Label { size: 15, bold: true, ..Label::default() }.draw(&root, "Every rule", [MARGIN, 302])?;
    let how = "with the smallest η of 0.001, 0.002, 0.003, 0.005, 0.01, … that comes to a thousandth \
               of the loss at the start, or nearest";
    Label { color: FAINT, ..Label::default() }.draw(&root, how, [MARGIN + 100, 304])?;
    for (path, panel) in grid.iter().zip(panels()) {
        panel.draw(&root, path)?;
    }
    root.present()?;
    drop(root);
    Ok(in_pixels(svg, height))
}

fn units(pixels: i32) -> i32 {
    UNITS * pixels
}

/// The picture at its size in pixels, not in units.
fn in_pixels(svg: String, height: i32) -> String {
    let size = |width, height| format!("width=\"{width}\" height=\"{height}\"");
    svg.replacen(&size(units(WIDTH), units(height)), &size(WIDTH, height), 1)
}

fn heading(root: &Area) -> Result<()> {
    let title = format!("Descent into a narrow valley: {FORMULA}");
    Label { size: 17, bold: true, ..Label::default() }.draw(root, &title, [MARGIN, 12])?;
    let how =
        "The same start, steps and axes everywhere; a dot is a step. Settings in gray are defaults.";
    Label { color: FAINT, ..Label::default() }.draw(root, how, [MARGIN, 38])?;
    mark_start(root, (units(858), units(46)))?;
    Label::default().draw(root, "start", [868, 38])?;
    mark_minimum(root, (units(914), units(46)))?;
    Label::default().draw(root, "minimum", [924, 38])
}

/// One rule's picture. Its left upper corner and width are in pixels.
struct Panel {
    left: i32,
    top: i32,
    width: i32,
}

impl Panel {
    /// Places for any number of panels, a number of them in a row.
    fn row_by_row(columns: i32, top: i32) -> impl Iterator<Item = Self> {
        let width = (WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns;
        (0..).map(move |k| {
            let mut panel = Self { left: MARGIN + k % columns * (width + GAP), top, width };
            panel.top += k / columns * (panel.below() - top);
            panel
        })
    }

    /// Where the next row begins, or the picture ends.
    fn below(&self) -> i32 {
        self.top + HEAD + self.height() + GAP
    }

    /// Of the part of the plane, on the same scale in both directions.
    fn height(&self) -> i32 {
        (f64::from(self.width) * (Y[1] - Y[0]) / (X[1] - X[0])).round() as i32
    }

    fn draw(&self, root: &Area, path: &Path) -> Result<()> {
        self.caption(root, path)?;
        self.valley(root)?;
        self.result(root, path)?;
        self.way(root, path)?;
        mark_start(root, self.position(START.map(f64::from)))?;
        mark_minimum(root, self.position([0.0, 0.0]))?;
        self.frame(root)
    }

    fn caption(&self, root: &Area, path: &Path) -> Result<()> {
        let Path { name, settings, color, .. } = path;
        let right = self.left + self.width;
        let settings = |default| {
            let texts = settings.iter().filter(|s| s.default == default).map(|s| s.text.as_str());
            texts.collect::<Vec<_>>().join(", ")
        };
        let title = Label { size: 15, bold: true, color: *color, ..Label::default() };
        title.draw(root, name, [self.left, self.top])?;
        let own = Label { to: HPos::Right, ..Label::default() };
        own.draw(root, &settings(false), [right, self.top + 2])?;
        let defaults = Label { color: FAINT, ..Label::default() };
        defaults.draw(root, &settings(true), [self.left, self.top + 22])
    }

    /// In the lower right corner, where no way leads.
    fn result(&self, root: &Area, path: &Path) -> Result<()> {
        let text = format!("{} steps: f = {:.1e}", path.steps(), loss(path.end()));
        let corner = [self.left + self.width - 6, self.top + HEAD + self.height() - 18];
        Label { to: HPos::Right, ..Label::default() }.draw(root, &text, corner)
    }

    /// Contour lines, lighter inside.
    fn valley(&self, root: &Area) -> Result<()> {
        let corners = [self.position([X[0], Y[1]]), self.position([X[1], Y[0]])];
        root.draw(&Rectangle::new(corners, shade(0).filled()))?;
        for k in 1..=CONTOURS {
            let radius = f64::from(CONTOURS + 1 - k) / START_CONTOUR;
            let mut line = self.contour(radius * radius * loss(START.map(f64::from)));
            line.dedup();
            root.draw(&Polygon::new(line.clone(), shade(k)))?;
            root.draw(&PathElement::new(line, CONTOUR.stroke_width(2)))?;
        }
        Ok(())
    }

    /// The ellipse with this loss. What is outside of the panel is moved to its border.
    fn contour(&self, loss: f64) -> Vec<Position> {
        let [x, y] = CURVATURE.map(|curvature| (2.0 * loss / curvature).sqrt());
        let angle = |k| TAU * f64::from(k) / f64::from(CONTOUR_POINTS);
        let point = |(sin, cos)| [f64::clamp(x * cos, X[0], X[1]), f64::clamp(y * sin, Y[0], Y[1])];
        (0..=CONTOUR_POINTS).map(|k| self.position(point(angle(k).sin_cos()))).collect()
    }

    fn way(&self, root: &Area, path: &Path) -> Result<()> {
        let color = path.color;
        let mut points: Vec<Position> = path.points.iter().map(|&point| self.position(point)).collect();
        points.dedup_by(|a, b| (a.0 - b.0).abs().max((a.1 - b.1).abs()) < UNITS);
        root.draw(&PathElement::new(points.clone(), color.stroke_width(5)))?;
        for &point in &points[1..] {
            root.draw(&Circle::new(point, 7, color.filled()))?;
        }
        Ok(())
    }

    fn frame(&self, root: &Area) -> Result<()> {
        let corners = [[X[0], Y[0]], [X[0], Y[1]], [X[1], Y[1]], [X[1], Y[0]], [X[0], Y[0]]];
        let line = corners.map(|corner| self.position(corner));
        root.draw(&PathElement::new(line, FAINT.stroke_width(3)))?;
        Ok(())
    }

    /// Numbers under the panel and inside of its left border.
    fn label_axes(&self, root: &Area) -> Result<()> {
        let label = |to| Label { size: 11, color: FAINT, to, ..Label::default() };
        for x in [-4, -2, 0, 2] {
            let (right, down) = self.position([f64::from(x), Y[0]]);
            root.draw(&PathElement::new([(right, down), (right, down + 16)], FAINT.stroke_width(3)))?;
            label(HPos::Center).draw(root, &minus(x), [right / UNITS, down / UNITS + 6])?;
        }
        for y in [-1, 0, 1] {
            let (right, down) = self.position([X[0], f64::from(y)]);
            root.draw(&PathElement::new([(right, down), (right + 16, down)], FAINT.stroke_width(3)))?;
            label(HPos::Left).draw(root, &minus(y), [right / UNITS + 7, down / UNITS - 5])?;
        }
        Ok(())
    }

    fn position(&self, [x, y]: [f64; 2]) -> Position {
        let scale = f64::from(units(self.width)) / (X[1] - X[0]);
        let right = (scale * (x - X[0])).round() as i32;
        let down = (scale * (Y[1] - y)).round() as i32;
        (units(self.left) + right, units(self.top + HEAD) + down)
    }
}

/// With a real minus sign.
fn minus(number: i32) -> String {
    number.to_string().replace('-', "−")
}

/// From the heights around the valley, 0, to the innermost contour.
fn shade(k: u32) -> RGBColor {
    let part = f64::from(k) / f64::from(CONTOURS);
    let [r, g, b] = [0, 1, 2].map(|c| (HIGH[c] + part * (LOW[c] - HIGH[c])) as u8);
    RGBColor(r, g, b)
}

fn mark_start(root: &Area, position: Position) -> Result<()> {
    root.draw(&Circle::new(position, 18, WHITE.filled()))?;
    root.draw(&Circle::new(position, 18, INK.stroke_width(6)))?;
    Ok(())
}

fn mark_minimum(root: &Area, (x, y): Position) -> Result<()> {
    for (color, width, arm) in [(WHITE, 14, 23), (INK, 6, 20)] {
        for end in [(arm, arm), (arm, -arm)] {
            let line = [(x - end.0, y - end.1), (x + end.0, y + end.1)];
            root.draw(&PathElement::new(line, color.stroke_width(width)))?;
        }
    }
    Ok(())
}

/// How a text looks.
struct Label {
    /// In pixels.
    size: i32,
    bold: bool,
    color: RGBColor,
    /// The side of the text that stands at its position.
    to: HPos,
}

impl Default for Label {
    fn default() -> Self {
        Self { size: 12, bold: false, color: INK, to: HPos::Left }
    }
}

impl Label {
    /// `x`, `y` in pixels: the upper side of the text.
    fn draw(&self, root: &Area, text: &str, [x, y]: [i32; 2]) -> Result<()> {
        let style = if self.bold { FontStyle::Bold } else { FontStyle::Normal };
        // The backend makes every font smaller by this factor.
        let size = 1.24 * f64::from(units(self.size));
        let style = TextStyle::from(("sans-serif", size, style).into_font())
            .color(&self.color)
            .pos(Pos::new(self.to, VPos::Top));
        root.draw(&Text::new(text, (units(x), units(y)), style))?;
        Ok(())
    }
}
