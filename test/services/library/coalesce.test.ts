import fc from 'fast-check'
import t from 'tap'
import { createCoalescer } from '../../../services/library/coalesce.js'

const KEYS = ['a', 'b']
const turn = () => new Promise(resolve => setImmediate(resolve))

interface Look { key: string, seen: number, end: (error?: Error) => void }

t.test(
  'in any order of reads, writes and answers, no caller misses an earlier write, and each key is looked up once at a time',
  async () => {
    const step = fc.oneof(
      fc.record({ ask: fc.constantFrom(...KEYS) }),
      fc.constant('write' as const),
      fc.constant('answer' as const),
      fc.constant('fail' as const)
    )
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 40 }), async steps => {
      const under: Look[] = []
      let version = 0
      let looks = 0
      const share = createCoalescer<number>()
      const look = (key: string) => new Promise<number>((resolve, reject) => {
        looks++
        const seen = version
        under.push({ key, seen, end: error => error ? reject(error) : resolve(seen) })
      })
      const asked: Array<Promise<{ before: number, seen?: number, error?: Error }>> = []
      for (const step of [...steps, ...steps.map(() => 'answer' as const)]) {
        if (step === 'write') version++
        else if (step === 'answer') under.shift()?.end()
        else if (step === 'fail') under.shift()?.end(new Error('the store is gone'))
        else {
          const before = version
          asked.push(share(step.ask, () => look(step.ask)).then(seen => ({ before, seen }), (error: Error) => ({
            before,
            error
          })))
        }
        await turn()
        if (new Set(under.map(({ key }) => key)).size !== under.length) throw new Error('looked for twice at a time')
      }
      const answers = await Promise.all(asked)
      for (const { before, seen, error } of answers) {
        if (error === undefined && seen! < before) throw new Error(`saw ${seen}, asked after ${before}`)
      }
      if (looks > answers.length) throw new Error('looked for more often than asked')
    }), { numRuns: 500 })
  }
)

t.test(
  'ten callers during a lookup share the next one, or its failure, or the failure of the one they waited for',
  async t => {
    const share = createCoalescer<string>()
    const looks: Array<{ resolve: (value: string) => void, reject: (error: Error) => void }> = []
    const look = () => new Promise<string>((resolve, reject) => { looks.push({ resolve, reject }) })
    const ask = () => share('a', look)

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
    for (const asked of waiting) await t.rejects(asked, { message: 'gone again' })
    t.equal(looks.length, 4)
    const well = ask()
    looks[4]!.resolve('three')
    t.equal(await well, 'three')
  }
)
