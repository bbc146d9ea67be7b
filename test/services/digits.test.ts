import t from 'tap'
import { toAsciiDigits } from '../../services/digits.js'

t.test(
  'toAsciiDigits reads every decimal digit that Unicode knows by its value, and changes nothing else',
  async t => {
    const failures: string[] = []
    let digits = 0
    for (let code = 0; code <= 0x10ffff; code++) {
      if (code >= 0xd800 && code <= 0xdfff) continue
      const character = String.fromCodePoint(code)
      const read = toAsciiDigits(character)
      const isDigit = /\p{Nd}/u.test(character)
      if (isDigit ? !/^[0-9]$/.test(read) : read !== character) failures.push(code.toString(16))
      if (isDigit && read === '0') digits += 10
      if (isDigit && Number(read) !== valueBefore(code)) failures.push(code.toString(16))
    }
    t.same(failures, [])
    t.equal(
      digits,
      [...Array(0x110000).keys()].filter(code => /\p{Nd}/u.test(String.fromCodePoint(code))).length,
      'ten of each script'
    )
    t.equal(toAsciiDigits('+९१ 98765-४३२१০'), '+91 98765-43210')
    t.equal(
      toAsciiDigits('𝟗𝟘𝟡𝟢𝟫𝟬𝟵𝟶𝟿'),
      '909090909',
      'the five mathematical alphabets follow each other without a gap'
    )
  }
)

/** The value to expect: one more than the digit before it, or 0 for the first of a script. */
function valueBefore (code: number): number {
  const before = String.fromCodePoint(code - 1)
  return /\p{Nd}/u.test(before) ? (Number(toAsciiDigits(before)) + 1) % 10 : 0
}
