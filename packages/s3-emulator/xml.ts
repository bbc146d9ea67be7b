import { S3Error } from './errors.js'

const NAMESPACE = 'http://s3.amazonaws.com/doc/2006-03-01/'
const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }
const ESCAPES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

export type Content = string | number | boolean | undefined | Content[] | { [name: string]: Content }

/** Elements in the order of the object's keys: an array repeats its element, undefined leaves it out. */
export function xmlDocument (root: string, content: { [name: string]: Content }, namespace = true): string {
  const attributes = namespace ? ` xmlns="${NAMESPACE}"` : ''
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${root}${attributes}>${elements(content)}</${root}>`
}

function elements (content: { [name: string]: Content }): string {
  return Object.entries(content).map(([name, value]) => element(name, value)).join('')
}

function element (name: string, value: Content): string {
  if (value === undefined) return ''
  if (Array.isArray(value)) return value.map(item => element(name, item)).join('')
  return `<${name}>${typeof value === 'object' ? elements(value) : escapeXml(String(value))}</${name}>`
}

/** Characters that XML 1.0 cannot hold are written as references, as S3 does. */
function escapeXml (text: string): string {
  return text.replace(/[&<>"]|\p{Cc}/gu, char => ESCAPES[char] ?? `&#x${char.charCodeAt(0).toString(16)};`)
}

export interface XmlElement { name: string, text: string, children: XmlElement[] }

const TOKEN =
  /<\?[^]*?\?>|<!--[^]*?-->|<(\/?)([A-Za-z_][\w.:-]*)((?:\s+[\w.:-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>|([^<]+)/y

/**
 * Reads the few documents that requests carry. Namespace prefixes are dropped. A DOCTYPE is refused, so only XML's own
 * five entities exist. Throws MalformedXML.
 */
export function parseXml (source: string): XmlElement {
  const top: XmlElement = { name: '', text: '', children: [] }
  const open = [top]
  TOKEN.lastIndex = source.startsWith('\uFEFF') ? 1 : 0
  while (TOKEN.lastIndex < source.length) {
    const match = TOKEN.exec(source)
    const parent = open.at(-1)
    if (match === null || parent === undefined) throw new S3Error('MalformedXML')
    const [, closing, name, , selfClosing, text] = match
    if (text !== undefined) {
      parent.text += unescapeXml(text)
    } else if (name === undefined) {
      continue
    } else if (closing === '/') {
      if (open.pop()?.name !== localName(name)) throw new S3Error('MalformedXML')
    } else {
      const child: XmlElement = { name: localName(name), text: '', children: [] }
      parent.children.push(child)
      if (selfClosing !== '/') open.push(child)
      if (open.length > 8) throw new S3Error('MalformedXML')
    }
  }
  const root = top.children[0]
  if (open.length !== 1 || top.children.length !== 1 || root === undefined || top.text.trim() !== '') {
    throw new S3Error('MalformedXML')
  }
  return root
}

export function childText (parent: XmlElement, name: string): string | undefined {
  return parent.children.find(child => child.name === name)?.text
}

function localName (name: string): string {
  return name.slice(name.indexOf(':') + 1)
}

function unescapeXml (text: string): string {
  return text.replace(/&([^;&]*;?)/g, (_, body: string) => {
    const reference = /^(?:#x([0-9a-fA-F]{1,6})|#(\d{1,7})|(\w+));$/.exec(body)
    const named = reference?.[3] === undefined ? undefined : ENTITIES[reference[3]]
    if (named !== undefined) return named
    const code = reference?.[1] !== undefined ? parseInt(reference[1], 16) : Number(reference?.[2] ?? NaN)
    if (!(code > 0 && code <= 0x10FFFF)) throw new S3Error('MalformedXML')
    return String.fromCodePoint(code)
  })
}
