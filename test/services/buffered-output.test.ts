import t from 'tap'
import { bufferedOutput } from '../../services/buffered-output.js'
import { eventually } from '../helpers/wait.js'

t.test('Lines are written together, whole and in order, whatever their length and their letters are', async t => {
  // a pipe reads a chunk later, so chunks are kept as they are
  const written: Array<string | Uint8Array> = []
  const output = bufferedOutput({ write: chunk => written.push(chunk) > 0 })
  const lines = [1, 200, 50_000, 3, 300_000, 200, 43_000, 43_000, 43_000, 7].flatMap((length, i) =>
    ['x', 'é', '世', '😀'].map(letter => `${i} ${letter.repeat(length)}\n`))
  for (const line of lines) output.write(line)
  const text = () => Buffer.concat(written.map(chunk => Buffer.from(chunk))).toString()
  await eventually(() => text().length === lines.join('').length, 'everything is written')
  t.ok(text() === lines.join(''))
  t.ok(written.every(chunk => Buffer.from(chunk).toString().endsWith('\n')), 'no line is in two writes')

  written.length = 0
  for (let i = 0; i < 100; i++) output.write(`${i}\n`)
  await eventually(() => written.length > 0, 'the lines are written')
  t.equal(written.length, 1)
})
