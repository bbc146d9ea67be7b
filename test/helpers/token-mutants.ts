import { seededRandom } from './seeded-random.js'

/** `count` different strings that are none of `tokens`, made from them by random changes. */
export function mutate (tokens: string[], count: number, seed: number): Set<string> {
  const from = seededRandom(seed)
  const random = (below: number) => Math.floor(from() * below)
  const pick = <T>(list: ArrayLike<T>) => list[random(list.length)]!
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/'
  const inPart = (token: string, change: (part: string, index: number) => string) => {
    const parts = token.split('.')
    const index = random(parts.length)
    return parts.map((part, i) => i === index ? change(part, index) : part).join('.')
  }
  const cut = (text: string) => random(text.length + 1)
  const changes: Array<(token: string) => string> = [
    token => {
      const at = random(token.length)
      return token.slice(0, at) + String.fromCharCode(token.charCodeAt(at) ^ 1 << random(7)) + token.slice(at + 1)
    },
    token => { const at = random(token.length); return token.slice(0, at) + pick(alphabet) + token.slice(at + 1) },
    token => inPart(token, part => {
      const bytes = Buffer.from(part, 'base64url')
      if (bytes.length > 0) bytes[random(bytes.length)]! ^= 1 << random(8)
      return bytes.toString('base64url')
    }),
    token =>
      inPart(token, part => { const at = cut(part); return part.slice(0, at) + pick(alphabet) + part.slice(at) }),
    token => inPart(token, part => part.slice(0, cut(part))),
    token => inPart(token, part => part.slice(cut(part))),
    token => inPart(token, part => part.slice(0, -1) + pick(alphabet)),
    token => inPart(token, part => {
      const [a, b] = [cut(part), cut(part)]
      return part.slice(0, Math.min(a, b)) + part.slice(Math.max(a, b))
    }),
    token => inPart(token, part => { const [a, b] = [cut(part), cut(part)]; return part.slice(0, a) + part.slice(b) }),
    token => inPart(token, part => {
      const at = random(part.length + 1)
      return part.slice(0, at) + (part[at] ?? '').toUpperCase() + part.slice(at + 1)
    }),
    token => inPart(token, part => {
      const at = random(part.length + 1)
      return part.slice(0, at) + (part[at] ?? '').toLowerCase() + part.slice(at + 1)
    }),
    token => {
      const [a, b] = [random(token.length), random(token.length)]
      const text = [...token];
      [text[a], text[b]] = [text[b]!, text[a]!]
      return text.join('')
    },
    token => { const at = cut(token); return token.slice(0, at) + pick(tokens).slice(at) },
    token => inPart(token, (_part, index) => pick(tokens).split('.')[index] ?? ''),
    token => inPart(token, part => {
      const other = pick(tokens).split('.')[random(3)] ?? ''
      const at = cut(part)
      return part.slice(0, at) + other.slice(at)
    }),
    token => {
      const parts = token.split('.')
      const at = random(3)
      return [...parts.slice(at), ...parts.slice(0, at)].join('.')
    },
    token => token.slice(0, cut(token)),
    token => inPart(token, (part, index) => {
      if (index === 2) return part
      const text = Buffer.from(part, 'base64url').toString('latin1')
      const at = random(text.length + 1)
      const piece = pick(['', '0', '9', '"', '{', '}', '[', ':', ',', 'x', ' ', '\\', 'null'])
      return Buffer.from(text.slice(0, at) + piece + text.slice(at + random(2)), 'latin1').toString('base64url')
    })
  ]
  const originals = new Set(tokens)
  const mutants = new Set<string>()
  while (mutants.size < count) {
    let token = pick(tokens)
    for (let n = 1 + random(3); n > 0; n--) token = pick(changes)(token)
    if (/^[\x21-\x7e]+$/.test(token) && !originals.has(token)) mutants.add(token)
  }
  return mutants
}
