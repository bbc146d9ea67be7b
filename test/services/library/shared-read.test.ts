import fc from 'fast-check'
import t from 'tap'
import { createSharedRead } from '../../../services/library/shared-read.js'

const turn = () => new Promise(resolve => setImmediate(resolve))

interface Look { seen: number, end: (error?: Error) => void }

t.test(
  'in any order of reads, writes and answers, no caller misses an earlier write, and there is one read at a time',
  async () => {
    const step = fc.constantFrom('ask', 'write', 'answer', 'fail')
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 40 }), async steps => {
      const under: Look[] = []
      let version = 0
      let looks = 0
      const ask = createSharedRead(() => new Promise<number>((resolve, reject) => {
        looks++
        const seen = version
        under.push({ seen, end: error => error ? reject(error) : resolve(seen) })
      }))
      const asked: Array<Promise<{ before: number, seen?: number, error?: Error }>> = []
      for (const step of [...steps, ...steps.map(() => 'answer')]) {
        if (step === 'write') version++
        else if (step === 'answer') under.shift()?.end()
        else if (step === 'fail') under.shift()?.end(new Error('the store is gone'))
        else {
          const before = version
          asked.push(ask().then(seen => ({ before, seen }), (error: Error) => ({ before, error })))
        }
        await turn()
        if (under.length > 1) throw new Error('read twice at a time')
      }
      const answers = await Promise.all(asked)
      for (const { before, seen, error } of answers) {
        if (error === undefined && seen! < before) throw new Error(`saw ${seen}, asked after ${before}`)
      }
      if (looks > answers.length) throw new Error('read more often than asked')
    }), { numRuns: 500 })
  }
)

t.test(
  'ten callers during a read share the next one, or its failure; a failure of the present one costs them nothing',
  async t => {
    const looks: Array<{ resolve: (value: string) => void, reject: (error: Error) => void }> = []
    const ask = createSharedRead(() => new Promise<string>((resolve, reject) => { looks.push({ resolve, reject }) }))

    const first = ask()
    const ten = Array.from({ length: 10 }, ask)
    t.equal(looks.length, 1)
    looks[0]!.resolve('one')
    t.equal(await first, 'one')
    await turn()
    t.equal(looks.length, 2)
    const eleven = ask()
    looks[1]!.resolve('two')
    t.strictSame(await Promise.all(ten), Array(10).fill('two'))
    await turn()
    looks[2]!.reject(new Error('gone'))
    await t.rejects(eleven, { message: 'gone' })

    const failing = ask()
    const waiting = [ask(), ask()]
    looks[3]!.reject(new Error('gone again'))
    await t.rejects(failing, { message: 'gone again' })
    await turn()
    t.equal(looks.length, 5)
    looks[4]!.resolve('three')
    t.strictSame(await Promise.all(waiting), ['three', 'three'])
  }
)
