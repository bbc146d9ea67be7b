const MIN_BITS = 32
/** Common words in secrets, which add no strength. */
const WORDS = /metrics|prometheus|monitoring|token|secret|password|passwd|hookaba|admin|bearer|example|sample|default|testing|test|letmein|welcome|qwertz|qwerty|asdf|key/gi

/**
 * Whether a secret is easily guessed: by an estimate of its random bits, without known words, repeats and sequences
 * such as 12345 or abcde.
 */
export function isGuessable (secret: string): boolean {
  const characters = [...repeatsOnce(secret.replace(WORDS, ''))]
  const unexpected = characters.filter((character, i) =>
    i === 0 || Math.abs(character.codePointAt(0)! - characters[i - 1]!.codePointAt(0)!) > 1)
  return unexpected.length * entropy(unexpected) < MIN_BITS
}

/** One copy of a text that is all repetition; else the text. */
const repeatsOnce = (text: string) => /^(.+?)\1+$/s.exec(text)?.[1] ?? text

/** Bits for each character, by how often each occurs (Shannon 1948). */
function entropy (characters: string[]): number {
  const counts = new Map<string, number>()
  for (const character of characters) counts.set(character, (counts.get(character) ?? 0) + 1)
  const shares = [...counts.values()].map(count => count / characters.length)
  return shares.reduce((sum, share) => sum - share * Math.log2(share), 0)
}
