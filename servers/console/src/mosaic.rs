//! Draws tiles, each of which stands for something of a kind, and what leads from one to another.

use embedded_graphics::draw_target::{DrawTarget, DrawTargetExt};
use embedded_graphics::geometry::{Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::{Drawable, Primitive};
use embedded_graphics::primitives::{Circle, Line, PrimitiveStyle, Rectangle};

const PANEL: Rgb888 = Rgb888::new(0x17, 0x1c, 0x24);
/// Of kinds by their numbers; of those beyond, the last.
const KINDS: [Rgb888; 7] = [
    Rgb888::new(0x2a, 0x31, 0x3c),
    Rgb888::new(0x7a, 0x86, 0x99),
    Rgb888::new(0x4f, 0x8f, 0xd6),
    Rgb888::new(0x5f, 0xa8, 0x6a),
    Rgb888::new(0x9b, 0x7f, 0xc9),
    Rgb888::new(0xc9, 0x6b, 0x6b),
    Rgb888::new(0xd0, 0xd4, 0xda),
];
const LINK: Rgb888 = Rgb888::new(0xf0, 0xb4, 0x4c);

/// Pixels of a link's width, and of the point where it ends.
const STROKE: u32 = 2;
const POINT: u32 = 7;

/// Tiles, and what leads from one to another.
#[derive(Clone, Copy, Debug)]
pub struct Mosaic<'a> {
    /// The kind of each tile, line by line from the upper left.
    pub kinds: &'a [u16],
    /// Tiles in a line.
    pub across: u16,
    /// Tiles by their numbers: from which a link leads, and to which. Those that are not there are
    /// left out.
    pub links: &'a [(u8, u8)],
}

/// Draws into an area, all of which is covered.
///
/// # Errors
/// Those of the target.
pub fn draw<D: DrawTarget<Color = Rgb888>>(
    mosaic: Mosaic<'_>,
    area: Rectangle,
    target: &mut D,
) -> Result<(), D::Error> {
    let target = &mut target.clipped(&area);
    target.fill_solid(&area, PANEL)?;
    let tiles = Tiles::new(mosaic, area);
    for (number, kind) in (0..).zip(mosaic.kinds) {
        target.fill_solid(&tiles.inside(number), colour(*kind))?;
    }
    for (from, to) in mosaic.links {
        let is_tile = |number: u8| usize::from(number) < mosaic.kinds.len();
        if is_tile(*from) && is_tile(*to) {
            link(tiles.centre((*from).into()), tiles.centre((*to).into()), target)?;
        }
    }
    Ok(())
}

fn link<D: DrawTarget<Color = Rgb888>>(
    from: Point,
    to: Point,
    target: &mut D,
) -> Result<(), D::Error> {
    let stroke = PrimitiveStyle::with_stroke(LINK, STROKE);
    Line::new(from, to).into_styled(stroke).draw(target)?;
    Circle::with_center(to, POINT).into_styled(PrimitiveStyle::with_fill(LINK)).draw(target)
}

fn colour(kind: u16) -> Rgb888 {
    let [.., last] = KINDS;
    KINDS.get(usize::from(kind)).copied().unwrap_or(last)
}

/// Where tiles are.
struct Tiles {
    origin: Point,
    size: Size,
    across: u32,
}

impl Tiles {
    fn new(mosaic: Mosaic<'_>, area: Rectangle) -> Self {
        let across = u32::from(mosaic.across).max(1);
        let down = u32::try_from(mosaic.kinds.len()).unwrap_or(u32::MAX).div_ceil(across).max(1);
        let size = Size::new(area.size.width / across, area.size.height / down);
        Self { origin: area.top_left, size, across }
    }

    fn corner(&self, number: u32) -> Point {
        let (column, row) = (number % self.across, number / self.across);
        self.origin + Size::new(column * self.size.width, row * self.size.height)
    }

    /// A tile without the gap between it and the next ones.
    fn inside(&self, number: u32) -> Rectangle {
        let gap = Size::new_equal(1);
        Rectangle::new(self.corner(number), self.size.saturating_sub(gap))
    }

    fn centre(&self, number: u32) -> Point {
        self.corner(number) + self.size / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use core::convert::Infallible;
    use embedded_graphics::Pixel;
    use embedded_graphics::geometry::OriginDimensions;
    use proptest::prelude::*;

    struct Canvas(Vec<Option<Rgb888>>);

    const WIDTH: i32 = 120;

    impl OriginDimensions for Canvas {
        fn size(&self) -> Size {
            Size::new(120, 80)
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
                assert!((0..WIDTH).contains(&x), "outside");
                self.0[usize::try_from(y * WIDTH + x).expect("not above")] = Some(colour);
            }
            Ok(())
        }
    }

    impl Canvas {
        fn at(&self, x: i32, y: i32) -> Option<Rgb888> {
            self.0[usize::try_from(y * WIDTH + x).expect("inside")]
        }
    }

    fn drawn(mosaic: Mosaic<'_>, area: Rectangle) -> Canvas {
        let mut canvas = Canvas(alloc::vec![None; 120 * 80]);
        let Ok(()) = draw(mosaic, area, &mut canvas);
        canvas
    }

    #[test]
    fn tiles_have_their_colours_and_links_end_in_a_point() {
        let area = Rectangle::new(Point::new(10, 5), Size::new(96, 64));
        let mosaic = Mosaic { kinds: &[1, 2, 3, 9], across: 3, links: &[(0, 1), (0, 7)] };
        let canvas = drawn(mosaic, area);
        assert_eq!((canvas.at(11, 6), canvas.at(43, 6)), (Some(KINDS[1]), Some(KINDS[2])));
        assert_eq!((canvas.at(75, 6), canvas.at(11, 38)), (Some(KINDS[3]), Some(KINDS[6])));
        assert_eq!((canvas.at(58, 21), canvas.at(40, 21)), (Some(LINK), Some(LINK)));
        assert_eq!((canvas.at(41, 6), canvas.at(43, 38)), (Some(PANEL), Some(PANEL)));
        assert_eq!((canvas.at(9, 6), canvas.at(106, 6)), (None, None));
    }

    proptest! {
        #[test]
        fn exactly_the_area_is_drawn(
            kinds in prop::collection::vec(any::<u16>(), 0..40),
            across: u16,
            links in prop::collection::vec(any::<(u8, u8)>(), 0..9),
            (x, y, width, height) in (0i32..60, 0i32..40, 0u32..60, 0u32..40),
        ) {
            let area = Rectangle::new(Point::new(x, y), Size::new(width, height));
            let canvas = drawn(Mosaic { kinds: &kinds, across, links: &links }, area);
            for (y, x) in (0..80).flat_map(|y| (0..WIDTH).map(move |x| (y, x))) {
                prop_assert_eq!(canvas.at(x, y).is_some(), area.contains(Point::new(x, y)));
            }
        }
    }
}
