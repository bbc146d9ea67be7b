/** Makes renditions in several ways, each alone on its core, and reports the CPU time of each. */
import { execFileSync } from 'node:child_process'
import { readFile, rm } from 'node:fs/promises'
import sharp from 'sharp'
import { createPictures } from '../../dist/services/pictures/pictures.js'
import { serveParent } from '../harness/child.js'

const SIZE = 64
const resized = bytes => sharp(bytes, { animated: true }).resize(SIZE, SIZE, { fit: 'contain', background: '#000' })
const pictures = createPictures({ sizes: [`${SIZE}x${SIZE}`], maxBytes: 98304 })

const WAYS = {
  service: async bytes => (await pictures.read(bytes, 'contain')).renditions[0]?.bytes,
  quick: bytes =>
    resized(bytes).gif({ effort: 1, dither: 0, interFrameMaxError: 8, keepDuplicateFrames: true }).toBuffer(),
  default: bytes => resized(bytes).gif().toBuffer(),
  decode: async bytes => { await resized(bytes).raw().toBuffer() }
}

/** Makes one rendition in one way. The parent waits for it before it asks for the next. */
async function make ({ way, path }) {
  if (way === 'gifsicle') return byGifsicle(path)
  const bytes = await readFile(path)
  const before = process.cpuUsage()
  const made = await WAYS[way](bytes)
  const { user, system } = process.cpuUsage(before)
  return { milliseconds: (user + system) / 1000, ...await described(made) }
}

/** Runs in a shell of its own. The second line of `times` is the CPU time of the shell's children (POSIX). */
async function byGifsicle (path) {
  const result = `${path}.64.gif`
  const times = execFileSync('sh', ['-c', 'gifsicle --resize-fit 64x64 -O2 "$1" -o "$2"; times', 'sh', path, result], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore']
  })
  const milliseconds = [...times.trim().split('\n')[1].matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, minutes, seconds]) => sum + minutes * 60_000 + seconds * 1000,
    0
  )
  const made = await readFile(result)
  await rm(result)
  return { milliseconds, ...await described(made) }
}

const described = async made => made === undefined
  ? { bytes: '', frames: '' }
  : { bytes: made.length, frames: (await sharp(made, { animated: true }).metadata()).pages ?? 1 }

function hasGifsicle () {
  try {
    execFileSync('gifsicle', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

serveParent({ gifsicle: hasGifsicle() }, () => ({}), make)
