/** The start of every delimiter. Finding it and then comparing the rest takes half the time. */
const BEGINNING = Buffer.from('\r\n--')
/** RFC 2046 §5.1.1: 1 to 70 of these, the last one no space. */
const BOUNDARY = /^[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]$/

/** The boundary that a content type names (RFC 2046 §5.1.1), quoted or not. Undefined if it is missing or invalid. */
export function boundaryOf (contentType: string): string | undefined {
  const parameters = contentType.split(';').slice(1).map(parameter => parameter.trim())
  const parameter = parameters.find(parameter => /^boundary=/i.test(parameter))
  const boundary = parameter?.slice('boundary='.length).replace(/^"(.*)"$/, '$1')
  return boundary !== undefined && BOUNDARY.test(boundary) ? boundary : undefined
}

/**
 * Finds where the delimiters of a multipart body begin, in bytes from its start, as its chunks pass. The line break
 * before a delimiter is part of it.
 */
export function createDelimiterScan (boundary: string) {
  const delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1')
  const overlap = delimiter.length - 1
  const offsets: number[] = []
  let received = 0
  let tail = Buffer.from('\r\n') // at the very start the line break may be left out

  return {
    offsets: offsets as readonly number[],

    push (chunk: Buffer): void {
      const seam = Buffer.concat([tail, chunk.subarray(0, overlap)])
      const inSeam = find(seam, 0, received - tail.length)
      const inChunk = find(chunk, Math.max(0, inSeam - tail.length), received)
      tail = chunk.length < overlap ? last(seam, inSeam) : last(chunk, inChunk)
      received += chunk.length
    }
  }

  /** Records every delimiter in `bytes` from `from` on. Returns where the last of them ends, or `from`. */
  function find (bytes: Buffer, from: number, base: number): number {
    for (let at = bytes.indexOf(BEGINNING, from); at !== -1; at = bytes.indexOf(BEGINNING, at)) {
      if (delimiter.compare(bytes, at, Math.min(at + delimiter.length, bytes.length)) !== 0) {
        at++
        continue
      }
      offsets.push(base + at)
      from = at += delimiter.length
    }
    return from
  }

  /** The end of `bytes`, where the next delimiter may have begun. */
  function last (bytes: Buffer, from: number): Buffer<ArrayBuffer> {
    return Buffer.from(bytes.subarray(Math.max(from, bytes.length - overlap)))
  }
}
