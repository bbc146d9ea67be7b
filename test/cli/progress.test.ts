import t from 'tap'
import { createProgress } from '../../cli/progress.js'

t.test('A command shows its progress as a bar on a terminal, and clears the bar', async t => {
  const { shown, progress, clock } = setup(true)
  progress.show('users', 500, 2000)
  progress.show('users', 501, 2000)
  clock.now = 100
  progress.show('users', 2000, 2000)
  progress.end()
  progress.end()
  t.same(shown, [
    '\r[#######.......................] users: 500 of 2000\u001b[K',
    '\r[##############################] users: 2000 of 2000\u001b[K',
    '\r\u001b[K'
  ])
})

t.test('In a log it writes a line every ten seconds, and nothing for a short run', async t => {
  const { shown, progress, clock } = setup(false)
  for (const at of [0, 9_999, 10_000, 15_000, 20_000]) {
    clock.now = at
    progress.show('library', at, 30_000)
  }
  progress.end()
  t.same(shown, ['library: 10000 of 30000 (33 %)\n', 'library: 20000 of 30000 (66 %)\n'])
})

function setup (isTTY: boolean) {
  const shown: string[] = []
  const clock = { now: 0 }
  const output = { isTTY, write: (text: string) => shown.push(text) > 0 }
  return { shown, clock, progress: createProgress(output, () => clock.now) }
}
