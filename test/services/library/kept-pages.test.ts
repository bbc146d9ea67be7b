import { randomBytes } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { createKeptPages } from '../../../services/library/kept-pages.js'

const MEGABYTE = 1024 * 1024

function start () {
  const clock = { now: 1000 }
  const read: string[] = []
  const keptPage = createKeptPages(() => clock.now)
  const ask = (key: string, text = `the page ${key}`, takesGzip = false) => keptPage(key, async () => {
    read.push(key)
    return text
  }, takesGzip)
  return { clock, read, ask, keptPage }
}

t.test('A page is read once within five seconds, also if it is asked for all the time', async t => {
  const { clock, read, ask } = start()
  t.equal((await ask('a')).text, 'the page a')
  for (; clock.now < 6000; clock.now += 1000) await ask('a', 'another page')
  t.same(read, ['a'])
  clock.now = 6001
  t.equal((await ask('a', 'another page')).text, 'another page')
})

t.test('Callers at the same time share one read and its failure; the next caller reads again', async t => {
  const { read, ask, keptPage } = start()
  const answers = await Promise.all([ask('a'), ask('a'), ask('b'), ask('a')])
  t.same(answers.map(({ text }) => text), ['the page a', 'the page a', 'the page b', 'the page a'])
  t.same(read, ['a', 'b'])
  const failing = () => keptPage('c', async () => { throw new Error('no database') }, false)
  const failures = await Promise.allSettled([failing(), failing(), ask('c')])
  t.same(failures.map(({ status }) => status), ['rejected', 'rejected', 'rejected'])
  t.equal((await ask('c')).text, 'the page c')
})

t.test('A page is compressed when a client that takes gzip asks for it again, and only then', async t => {
  const { ask } = start()
  const text = 'the same line\n'.repeat(200)
  t.equal((await ask('a', text, true)).gzip, undefined, 'used once')
  t.equal((await ask('a', text)).gzip, undefined, 'nobody takes gzip')
  const [one, other] = await Promise.all([ask('a', text, true), ask('a', text, true)])
  t.equal(one.gzip, other.gzip, 'compressed once')
  t.equal(gunzipSync(one.gzip!).toString(), text)
  t.equal((await ask('a', text)).gzip, undefined)
  await ask('small', 'x', true)
  t.equal((await ask('small', 'x', true)).gzip, undefined, 'a few bytes stay as they are')
})

t.test('At most 16 MiB are kept; a page that is not kept is read again', async t => {
  const { read, ask } = start()
  const text = randomBytes(MEGABYTE / 4).toString('hex')
  for (let i = 0; i < 20; i++) await ask(`${i}`, text)
  read.length = 0
  for (let i = 19; i > 4; i--) await ask(`${i}`, text)
  t.same(read, [])
  await ask('3', text)
  t.same(read, ['3'])
  await ask('too large', text.repeat(17))
  await ask('too large', text.repeat(17))
  t.same(read, ['3', 'too large', 'too large'])
})
