//! Decodes every picture in the folders it is given by crates of Rust.
//! One line for each picture and crate: file, decoder, digest of all that was decoded; "-" where it was refused.
use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Cursor;
use std::path::Path;

type Digest = Result<u64, Box<dyn Error>>;
type Decode = fn(&[u8]) -> Digest;

fn main() -> Result<(), Box<dyn Error>> {
    for folder in std::env::args().skip(1) {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let file = std::fs::read(&path)?;
            for (name, decode) in decoders(&path) {
                let found = decode(&file).map_or("-".into(), |digest| format!("{digest:x}"));
                println!("{}\tRust {name}\t{found}", path.display());
            }
        }
    }
    Ok(())
}

fn decoders(path: &Path) -> Vec<(&'static str, Decode)> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("gif") => vec![("gif", decode_gif)],
        Some("jpeg") => vec![("jpeg-decoder", decode_jpeg), ("zune-jpeg", decode_jpeg_by_zune)],
        Some("png") => vec![("png", decode_png)],
        Some("webp") => vec![("image-webp", decode_webp)],
        _ => vec![],
    }
}

fn decode_gif(file: &[u8]) -> Digest {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    let mut decoder = options.read_info(file)?;
    let mut digest = DefaultHasher::new();
    (decoder.width(), decoder.height(), format!("{:?}", decoder.repeat())).hash(&mut digest);
    while let Some(frame) = decoder.read_next_frame()? {
        (frame.left, frame.top, frame.width, frame.height, frame.delay, frame.transparent).hash(&mut digest);
        (frame.dispose as u8, &frame.buffer).hash(&mut digest);
    }
    Ok(digest.finish())
}

fn decode_jpeg(file: &[u8]) -> Digest {
    Ok(digest_of(&jpeg_decoder::Decoder::new(file).decode()?))
}

fn decode_jpeg_by_zune(file: &[u8]) -> Digest {
    let mut decoder = zune_jpeg::JpegDecoder::new(Cursor::new(file));
    Ok(digest_of(&decoder.decode().map_err(|error| format!("{error:?}"))?))
}

fn decode_png(file: &[u8]) -> Digest {
    let mut reader = png::Decoder::new(Cursor::new(file)).read_info()?;
    let mut pixels = vec![0; reader.output_buffer_size().ok_or("too large")?];
    reader.next_frame(&mut pixels)?;
    reader.finish()?;
    Ok(digest_of(&pixels))
}

fn decode_webp(file: &[u8]) -> Digest {
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(file))?;
    let mut pixels = vec![0; decoder.output_buffer_size().ok_or("too large")?];
    let mut digest = DefaultHasher::new();
    if decoder.is_animated() {
        for _ in 0..decoder.num_frames() {
            decoder.read_frame(&mut pixels)?.hash(&mut digest);
            pixels.hash(&mut digest);
        }
    } else {
        decoder.read_image(&mut pixels)?;
        pixels.hash(&mut digest);
    }
    Ok(digest.finish())
}

fn digest_of(pixels: &[u8]) -> u64 {
    let mut digest = DefaultHasher::new();
    pixels.hash(&mut digest);
    digest.finish()
}
