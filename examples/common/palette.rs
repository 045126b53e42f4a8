//! A color for every rule.

use plotters::style::RGBColor;

/// Dark enough for white paper, and neighbours apart from each other for most eyes.
const COLORS: [RGBColor; 17] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(0, 0, 0),
    RGBColor(40, 165, 220),
    RGBColor(117, 60, 160),
    RGBColor(140, 86, 75),
    RGBColor(190, 20, 40),
    RGBColor(0, 92, 98),
    RGBColor(120, 150, 20),
    RGBColor(225, 40, 190),
    RGBColor(230, 159, 0),
    RGBColor(135, 135, 135),
    RGBColor(80, 200, 120),
    RGBColor(30, 30, 150),
    RGBColor(245, 130, 115),
];

/// The color of the `k`th; after the last they start again.
pub fn color(k: usize) -> RGBColor {
    COLORS[k % COLORS.len()]
}
