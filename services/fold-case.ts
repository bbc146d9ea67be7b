const invisible = /\p{Default_Ignorable_Code_Point}/gu

/** Text for comparison: NFKC, without invisible characters and without case. */
export const foldCase = (text: string) =>
  withoutCase(text.normalize('NFKC').replace(invisible, '')).normalize('NFKC').trim()

/** Folds letter by letter, so that a final sigma equals σ, and via lower case, so that ẞ equals ss. */
function withoutCase (text: string): string {
  const letters = Array.from(text.toLowerCase().toUpperCase(), letter => letter.toLowerCase())
  return letters.join('')
}
