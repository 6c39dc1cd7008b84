//! Draws a graph: values over time as a line, the surface under it, and a grid behind.

use alloc::vec::Vec;

use embedded_graphics::draw_target::{DrawTarget, DrawTargetExt};
use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::{Drawable, PointsIter, Primitive};
use embedded_graphics::primitives::{Circle, Polyline, PrimitiveStyle, Rectangle};

const PANEL: Rgb888 = Rgb888::new(0x17, 0x1c, 0x24);
const GRID: Rgb888 = Rgb888::new(0x2a, 0x31, 0x3c);
const SURFACE: Rgb888 = Rgb888::new(0x1e, 0x3c, 0x40);
const LINE: Rgb888 = Rgb888::new(0x5b, 0xbd, 0xc6);
const NEWEST: Rgb888 = Rgb888::new(0xf0, 0xb4, 0x4c);

/// Parts into which the grid divides the height.
const PARTS: i32 = 4;
/// Pixels from one value to the next: a cell's.
const STEP: i32 = 8;
/// Pixels of a strip, which is drawn in one piece.
const STRIP: u32 = 8;
/// Pixels between the area's edges and the places of values.
const INSET: i32 = 4;
/// Pixels of the line's width, and of the newest value's point.
const STROKE: u32 = 2;
const POINT: u32 = 7;

/// Draws values into an area, the newest at its right edge; `u16::MAX` is at its upper edge. What
/// would be left of it is left out.
///
/// # Errors
/// Those of the target.
pub fn draw<D: DrawTarget<Color = Rgb888>>(
    values: &[u16],
    area: Rectangle,
    target: &mut D,
) -> Result<(), D::Error> {
    let target = &mut target.clipped(&area);
    let points = points(values, &area);
    ground(&points, &area, target)?;
    let stroke = PrimitiveStyle::with_stroke(LINE, STROKE);
    Polyline::new(&points).into_styled(stroke).draw(target)?;
    let Some(newest) = points.last() else { return Ok(()) };
    Circle::with_center(*newest, POINT).into_styled(PrimitiveStyle::with_fill(NEWEST)).draw(target)
}

/// Lines of pixels of the largest and of no value: the line and the newest value's point are not cut
/// off by the edges.
fn edges(area: &Rectangle) -> (i32, i32) {
    let height = i32::try_from(area.size.height).unwrap_or(0);
    let upper = area.top_left.y + INSET;
    (upper, (area.top_left.y + height - 1 - INSET).max(upper))
}

/// Where the values are, from left to right.
fn points(values: &[u16], area: &Rectangle) -> Vec<Point> {
    let (upper, lower) = edges(area);
    let right = area.top_left.x + i32::try_from(area.size.width).unwrap_or(0) - 1 - INSET;
    let height = i64::from(lower - upper);
    let place = |(steps, value): (i32, &u16)| {
        let above = i64::from(*value) * height / i64::from(u16::MAX);
        Point::new(right - steps * STEP, lower - i32::try_from(above).unwrap_or(0))
    };
    let inside = |point: &Point| point.x >= area.top_left.x;
    let mut points: Vec<_> = (0..).zip(values.iter().rev()).map(place).take_while(inside).collect();
    points.reverse();
    points
}

/// The panel with its grid, and the surface under the line.
fn ground<D: DrawTarget<Color = Rgb888>>(
    points: &[Point],
    area: &Rectangle,
    target: &mut D,
) -> Result<(), D::Error> {
    let (upper, lower) = edges(area);
    let on_grid = |y: i32| (0..=PARTS).any(|part| lower - (lower - upper) * part / PARTS == y);
    let lines: Vec<i32> = area.columns().map(|x| line_at(points, x)).collect();
    let colour = |Point { x, y }: Point| {
        let column = usize::try_from(x - area.top_left.x).ok();
        let line = column.and_then(|column| lines.get(column)).copied().unwrap_or(i32::MAX);
        match y {
            _ if line <= y && y <= lower => SURFACE,
            _ if on_grid(y) => GRID,
            _ => PANEL,
        }
    };
    for x in (0..area.size.width).step_by(STRIP as usize) {
        let left = area.top_left + Size::new(x, 0);
        let size = Size::new(STRIP.min(area.size.width - x), area.size.height);
        let strip = Rectangle::new(left, size);
        target.fill_contiguous(&strip, strip.points().map(colour))?;
    }
    Ok(())
}

/// How low the line is at `x`; where it has not begun, below everything.
fn line_at(points: &[Point], x: i32) -> i32 {
    let between = points.windows(2).find_map(|pair| match pair {
        [a, b] if (a.x..=b.x).contains(&x) => {
            Some(a.y + (b.y - a.y) * (x - a.x) / (b.x - a.x).max(1))
        }
        _ => None,
    });
    between.unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::convert::Infallible;
    use embedded_graphics::Pixel;
    use embedded_graphics::geometry::OriginDimensions;
    use proptest::prelude::*;

    struct Canvas {
        width: i32,
        pixels: Vec<Option<Rgb888>>,
    }

    impl OriginDimensions for Canvas {
        fn size(&self) -> Size {
            let width = self.width.unsigned_abs();
            Size::new(width, u32::try_from(self.pixels.len()).expect("small") / width)
        }
    }

    impl DrawTarget for Canvas {
        type Color = Rgb888;
        type Error = Infallible;

        fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(
            &mut self,
            pixels: I,
        ) -> Result<(), Infallible> {
            for Pixel(Point { x, y }, colour) in pixels {
                assert!((0..self.width).contains(&x), "outside");
                let at = usize::try_from(y * self.width + x).expect("not above");
                self.pixels[at] = Some(colour);
            }
            Ok(())
        }
    }

    fn drawn(values: &[u16], area: Rectangle) -> Canvas {
        let mut canvas = Canvas { width: 120, pixels: alloc::vec![None; 120 * 80] };
        let Ok(()) = draw(values, area, &mut canvas);
        canvas
    }

    impl Canvas {
        fn at(&self, x: i32, y: i32) -> Option<Rgb888> {
            self.pixels[usize::try_from(y * self.width + x).expect("inside")]
        }
    }

    #[test]
    fn a_line_stands_over_its_surface_and_ends_at_the_right() {
        let area = Rectangle::new(Point::new(10, 5), Size::new(100, 60));
        let canvas = drawn(&[0, u16::MAX / 2, u16::MAX / 2, u16::MAX / 2], area);
        assert_eq!(canvas.at(105, 35), Some(NEWEST));
        assert_eq!((canvas.at(94, 35), canvas.at(94, 50)), (Some(LINE), Some(SURFACE)));
        assert_eq!((canvas.at(94, 15), canvas.at(94, 9)), (Some(PANEL), Some(GRID)));
        assert_eq!(canvas.at(50, 58), Some(PANEL), "before the first value");
        assert_eq!((canvas.at(9, 35), canvas.at(110, 35)), (None, None));
    }

    proptest! {
        #[test]
        fn exactly_the_area_is_drawn(
            values in prop::collection::vec(any::<u16>(), 0..40),
            (x, y, width, height) in (0i32..60, 0i32..40, 0u32..60, 0u32..40),
        ) {
            let area = Rectangle::new(Point::new(x, y), Size::new(width, height));
            let canvas = drawn(&values, area);
            for (y, x) in (0..80).flat_map(|y| (0..120).map(move |x| (y, x))) {
                prop_assert_eq!(canvas.at(x, y).is_some(), area.contains(Point::new(x, y)));
            }
        }
    }
}
