const invisible = /\p{Default_Ignorable_Code_Point}/gu

/** Text as it is compared where case makes no difference: NFKC, without what cannot be seen, and without case. */
export const foldCase = (text: string) =>
  withoutCase(text.normalize('NFKC').replace(invisible, '')).normalize('NFKC').trim()

/** Letter by letter, so that a final sigma is no other letter; by way of the small letters, so that ẞ is ss. */
const withoutCase = (text: string) => Array.from(text.toLowerCase().toUpperCase(), letter => letter.toLowerCase()).join(
  ''
)
