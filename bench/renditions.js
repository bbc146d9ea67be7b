import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { playfulGif, photo } from './harness/files.js'
import { start } from './harness/processes.js'
import { interleaved, median, printGoal, printTable, ratio } from './harness/rounds.js'
import { furtherAnimations, smallPictures } from './harness/small-files.js'

const SERVICE = { name: 'the service: facts and rendition', way: 'service' }
const DECODING = { name: 'sharp: decode and resize', way: 'decode' }
const QUICK = { name: 'sharp, `effort: 1`, `dither: 0`; a still as PNG', way: 'quick' }
const DEFAULT = { name: 'sharp as it comes', way: 'default' }
const GIFSICLE = { name: 'gifsicle, `--resize-fit 64x64 -O2`', way: 'gifsicle' }
/** They are compared once, because they take long. */
const OTHERS = [DEFAULT, GIFSICLE]

/** `most` is the goal: the most CPU of the service × that of sharp's decode and resize. */
async function pictures () {
  const small = [...await smallPictures(), ...await furtherAnimations()]
  const byName = name => small.find(picture => picture.name === name)
  return [
    { ...byName('GIF, 120×80, 3 frames'), most: 2.5 },
    { ...byName('GIF, 120×80, 12 frames'), most: 2.5 },
    { ...byName('GIF, 120×80, 8 frames, transparent'), most: 2.5 },
    { ...byName('GIF, 300×200, 40 frames'), most: 0.6 },
    { ...byName('GIF, 160×120, 300 frames'), most: 0.25 },
    { name: 'GIF, 500×500, 60 frames', content: await playfulGif() },
    { ...byName('JPEG'), most: 1.3 },
    { ...byName('PNG'), most: 1.3 },
    { name: 'JPEG, 1600×1200', content: await photo(), most: 1.3 }
  ]
}

/** CPU, bytes and error of a 64×64 rendition, made by the service and by other tools. */
export async function renditions ({ quick, only }) {
  const folder = await mkdtemp(join(tmpdir(), 'hookaba-bench-'))
  const maker = await start('pictures.js', { measured: true })
  if (!maker.gifsicle) console.log('\nNOT TRIED: gifsicle, because it is not on PATH')
  try {
    for (const picture of (await pictures()).filter(({ name }) => name.includes(only))) {
      const path = join(folder, 'picture')
      await writeFile(path, picture.content)
      const ways = [SERVICE, DECODING, QUICK, ...(picture.most ? [] : OTHERS)]
      await compare(maker, picture, path, ways.filter(way => way !== GIFSICLE || maker.gifsicle), quick ? 2 : 9)
    }
  } finally {
    await maker.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

/** Every way is warm: it has made the rendition for a second, or once where that takes longer. */
async function compare ({ make }, { name, content, most }, path, ways, rounds) {
  for (const { way } of ways) {
    for (let begun = performance.now(); performance.now() - begun < 1000;) await make(way, path)
  }
  const runs = await interleaved(rounds, ways, ({ way }) => make(way, path))
  const cpu = runs.map(list => list.map(({ milliseconds }) => milliseconds))
  const facts = []
  for (const { way } of ways) facts.push(await make(way, path, true))
  const floor = cpu[ways.indexOf(DECODING)]
  printTable(
    `${name}, ${Math.round(content.length / 1000)} kB (${rounds} rounds)`,
    ['way', 'CPU ms', '× decode and resize', 'bytes', 'frames', 'mean squared error'],
    ways.map((way, i) => [
      way.name,
      median(cpu[i]).toFixed(1),
      ratio(cpu[i], floor).toFixed(2),
      facts[i].bytes,
      facts[i].frames,
      facts[i].error
    ])
  )
  const reached = ratio(cpu[0], floor)
  if (most) printGoal(reached <= most, `${name}: CPU × decode and resize ${reached.toFixed(2)} (goal ${most})`)
}
