//! Draws a sample session as the screen shows it: `cargo run -p console --example sample -- FILE`.
//! The file committed as `sample/session.png` is what the tests compare with.

use std::error::Error;
use std::fs::File;
use std::io::BufWriter;

#[path = "../tests/picture/mod.rs"]
mod picture;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("usage: sample FILE")?;
    let picture = picture::sample();
    let (width, height) = (picture.width.try_into()?, picture.height.try_into()?);
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(file)?), width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header()?.write_image_data(&picture.bytes())?;
    Ok(())
}
