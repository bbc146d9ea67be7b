const ASCII = /^[\0-\x7f]*$/
const DIGIT = /\p{Nd}/u
const DIGITS = /\p{Nd}/gu

/** `text` with every decimal digit of any script (`\p{Nd}`) replaced by the ASCII digit of its value. */
export const toAsciiDigits = (text: string): string => ASCII.test(text) ? text : text.replace(DIGITS, valueOf)

/**
 * Unicode keeps the digits of a script together, in the order of their values from 0 to 9 (Unicode Standard, section
 * 4.6). Some scripts follow each other without a gap.
 */
function valueOf (digit: string): string {
  const code = digit.codePointAt(0)!
  let start = code
  while (DIGIT.test(String.fromCodePoint(start - 1))) start--
  return String((code - start) % 10)
}
