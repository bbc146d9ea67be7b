import sharp from 'sharp'

/**
 * Pictures as people upload them: `{ name, type, content }`. Each is a drawing with some noise, and always the same.
 */
export async function smallPictures () {
  return [
    { name: 'GIF, 120×80, 12 frames', type: 'image/gif', content: await gif(120, 80, 12, 4) },
    { name: 'GIF, 300×200, 40 frames', type: 'image/gif', content: await gif(300, 200, 40, 4) },
    { name: 'JPEG', type: 'image/jpeg', content: await picture(240, 180, 26).jpeg({ quality: 80 }).toBuffer() },
    { name: 'PNG', type: 'image/png', content: await picture(320, 240, 3).png().toBuffer() }
  ]
}

/** Further animations: few frames, many without noise, and some on a transparent background. By their names. */
export async function furtherAnimations () {
  return [
    { name: 'GIF, 120×80, 3 frames', content: await gif(120, 80, 3, 4) },
    { name: 'GIF, 160×120, 300 frames', content: await gif(160, 120, 300, 0) },
    { name: 'GIF, 120×80, 8 frames, transparent', content: await transparentGif(120, 80, 8) }
  ]
}

const picture = (width, height, noise) => sharp(pixels(width, height, 1, noise), {
  raw: { width, height, channels: 3 }
})

const gif = (width, height, frames, noise) => encoded(pixels(width, height, frames, noise), 3, width, height, frames)

/** The background of each frame is transparent where it is dark. */
function transparentGif (width, height, frames) {
  const opaque = pixels(width, height, frames, 4)
  const clear = Buffer.alloc(opaque.length / 3 * 4)
  for (let i = 0; i < opaque.length / 3; i++) {
    const isShown = opaque[i * 3] > 110
    opaque.copy(clear, i * 4, i * 3, i * 3 + 3)
    clear[i * 4 + 3] = isShown ? 255 : 0
  }
  return encoded(clear, 4, width, height, frames)
}

const encoded = (data, channels, width, height, frames) => sharp(data, {
  raw: { width, height: height * frames, channels, pageHeight: height }
}).gif({ delay: new Array(frames).fill(80), effort: 3 }).toBuffer()

/** A disc that goes round on a background of two gradients. `noise` is the most that a channel differs from that. */
function pixels (width, height, frames, noise) {
  const result = Buffer.alloc(width * height * frames * 3)
  const radius = Math.min(width, height) / 4
  let random = 1
  for (let frame = 0, at = 0; frame < frames; frame++) {
    const turn = frame / frames * 2 * Math.PI
    const [x0, y0] = [width / 2 + radius * Math.cos(turn), height / 2 + radius * Math.sin(turn)]
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const isInside = (x - x0) ** 2 + (y - y0) ** 2 < radius ** 2
        const colour = isInside ? [230, 120, 50] : [40 + 120 * x / width, 90 + 100 * y / height, 160]
        for (const channel of colour) {
          random = Math.imul(random, 1103515245) + 12345 >>> 0 // as in the C standard, 7.22.2
          result[at++] = channel + (random >>> 16) % (noise + 1)
        }
      }
    }
  }
  return result
}
