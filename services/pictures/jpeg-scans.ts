/** Markers of a JPEG (T.81, table B.1). */
const SOF0 = 0xc0
const SOF2 = 0xc2
const DHT = 0xc4
const RST0 = 0xd0
const RST7 = 0xd7
const EOI = 0xd9
const SOS = 0xda
const DRI = 0xdd
const TEM = 0x01
/** Stands for a marker at the end of the file. */
const END = -1

interface Component {
  id: number
  /** Sampling factors. */
  h: number
  v: number
  /** Blocks of the component alone, and padded to whole MCUs. */
  columns: number
  rows: number
  paddedColumns: number
  /** Only for a progressive picture: whether each coefficient is nonzero so far, 64 per block. */
  nonzero?: Uint8Array
}

interface Frame { progressive: boolean, components: Component[], mcuColumns: number, mcuRows: number }

/**
 * `short`, by the next eight bits: the symbol of a code of up to eight bits, with the code's length above. 0 for longer
 * codes.
 */
interface HuffmanTable { maxCodes: Int32Array, offsets: Int32Array, values: Buffer, short: Uint16Array }

interface ScanComponent { component: Component, dc?: HuffmanTable, ac?: HuffmanTable }

interface Scan { components: ScanComponent[], start: number, end: number, isRefinement: boolean }

/**
 * Whether a Huffman-coded JPEG, sequential or progressive, lacks data at its end: it has no EOI, or the last restart
 * interval of a scan has fewer codes than blocks. Walks over the codes as libjpeg does, which goes on after a wrong
 * code or restart marker (jdhuff.c, jdphuff.c, jdmarker.c). `onScan` is called before each scan.
 */
export function endsEarly (bytes: Buffer, onScan: () => void): boolean {
  const reader = createReader(bytes)
  const tables = new Map<number, HuffmanTable>()
  let frame: Frame | undefined
  let restartInterval = 0
  for (;;) {
    const code = reader.nextMarker()
    if (code === END) return true
    if (code === EOI) return frame === undefined // the scrubber finds components without a scan
    if (code === TEM || (code >= RST0 && code <= RST7)) continue
    const segment = reader.segment()
    if (code === DHT) readTables(segment, tables)
    else if (code === DRI) restartInterval = segment.length === 2 ? segment.readUInt16BE() : 0
    else if (code >= SOF0 && code <= SOF2) frame = readFrame(segment, code === SOF2)
    else if (code === SOS) {
      onScan()
      const scan = frame && readScan(segment, frame, tables)
      if (!scan || !walkScan(reader, frame!, scan, restartInterval)) return true
    }
  }
}

function readFrame (segment: Buffer, progressive: boolean): Frame | undefined {
  if (segment.length < 6 || segment.length < 6 + 3 * segment[5]!) return undefined
  const [height, width] = [segment.readUInt16BE(1), segment.readUInt16BE(3)]
  const factors = Array.from({ length: segment[5]! }, (_, i) => ({
    id: segment[6 + 3 * i]!,
    h: segment[7 + 3 * i]! >> 4,
    v: segment[7 + 3 * i]! & 15
  }))
  const [mostH, mostV] = [Math.max(...factors.map(({ h }) => h)), Math.max(...factors.map(({ v }) => v))]
  if (factors.some(({ h, v }) => h < 1 || v < 1)) return undefined
  const mcuColumns = Math.ceil(width / 8 / mostH)
  const mcuRows = Math.ceil(height / 8 / mostV)
  const components = factors.map(({ id, h, v }): Component => ({
    id,
    h,
    v,
    columns: Math.ceil(Math.ceil(width * h / mostH) / 8),
    rows: Math.ceil(Math.ceil(height * v / mostV) / 8),
    paddedColumns: mcuColumns * h,
    ...(progressive && { nonzero: new Uint8Array(mcuColumns * h * mcuRows * v * 64) })
  }))
  return { progressive, components, mcuColumns, mcuRows }
}

function readScan (
  segment: Buffer,
  { progressive, components }: Frame,
  tables: Map<number, HuffmanTable>
): Scan | undefined {
  const count = segment[0] ?? 0
  if (segment.length < 4 + 2 * count) return undefined
  const chosen: ScanComponent[] = []
  for (let i = 0; i < count; i++) {
    const component = components.find(({ id }) => id === segment[1 + 2 * i])
    const selector = segment[2 + 2 * i]!
    if (!component) return undefined
    chosen.push({ component, dc: tables.get(selector >> 4), ac: tables.get(0x10 | (selector & 15)) })
  }
  const [start, end, approximation] = [segment[1 + 2 * count]!, segment[2 + 2 * count]!, segment[3 + 2 * count]!]
  // ignores the values, because some cameras write nonsense
  if (!progressive) return { components: chosen, start: 0, end: 63, isRefinement: false }
  return end > 63 || start > end
    ? undefined
    : { components: chosen, start, end, isRefinement: approximation >> 4 !== 0 }
}

function readTables (segment: Buffer, tables: Map<number, HuffmanTable>): void {
  for (let at = 0; at + 17 <= segment.length;) {
    const counts = segment.subarray(at + 1, at + 17)
    const size = counts.reduce((sum, count) => sum + count, 0)
    tables.set(segment[at]!, huffmanTable(counts, segment.subarray(at + 17, at + 17 + size)))
    at += 17 + size
  }
}

/** Takes code lengths (T.81, annex F.2.2.3). */
function huffmanTable (counts: Buffer, values: Buffer): HuffmanTable {
  const maxCodes = new Int32Array(17).fill(-1)
  const offsets = new Int32Array(17)
  const short = new Uint16Array(256)
  let code = 0
  let index = 0
  for (let length = 1; length <= 16; length++) {
    offsets[length] = index - code
    for (let i = 0; i < counts[length - 1]!; i++) {
      if (length <= 8) short.fill(length << 8 | values[index + i]!, code + i << 8 - length, code + i + 1 << 8 - length)
    }
    code += counts[length - 1]!
    index += counts[length - 1]!
    if (counts[length - 1]! > 0) maxCodes[length] = code - 1
    code <<= 1
  }
  return { maxCodes, offsets, values, short }
}

type Reader = ReturnType<typeof createReader>

interface BlockDecoder {
  /** Reads the codes of one block. */
  decode: (chosen: ScanComponent, block: number) => void
  restart: () => void
}

/** Whether there were codes for the last blocks of the scan. */
function walkScan (
  reader: Reader,
  { progressive, mcuColumns, mcuRows }: Frame,
  scan: Scan,
  restartInterval: number
): boolean {
  const { decode, restart } = progressive ? progressiveDecoder(reader, scan) : sequentialDecoder(reader)
  const [only] = scan.components
  const isAlone = scan.components.length === 1
  const columns = isAlone ? only!.component.columns : mcuColumns
  const mcus = columns * (isAlone ? only!.component.rows : mcuRows)
  reader.begin()
  for (let mcu = 0; mcu < mcus; mcu++) {
    if (restartInterval > 0 && mcu > 0 && mcu % restartInterval === 0) {
      reader.restart()
      restart()
    }
    if (reader.isExhausted()) continue
    const column = mcu % columns
    const row = Math.floor(mcu / columns)
    if (isAlone) decode(only!, row * only!.component.paddedColumns + column)
    else for (const chosen of scan.components) decodeAll(chosen, column, row)
  }
  return !reader.isExhausted()

  function decodeAll (chosen: ScanComponent, column: number, row: number): void {
    const { h, v, paddedColumns } = chosen.component
    for (let y = row * v; y < (row + 1) * v; y++) {
      for (let x = column * h; x < (column + 1) * h; x++) decode(chosen, y * paddedColumns + x)
    }
  }
}

function sequentialDecoder (reader: Reader): BlockDecoder {
  return { decode, restart () {} }

  function decode ({ dc, ac }: ScanComponent): void {
    reader.coefficient(dc)
    for (let k = 1; k < 64; k++) {
      const symbol = reader.coefficient(ac)
      if ((symbol & 15) === 0 && symbol !== 0xf0) return
      k += symbol >> 4
    }
  }
}

/** T.81, annex G. */
function progressiveDecoder (reader: Reader, { start, end, isRefinement }: Scan): BlockDecoder {
  let emptyBlocks = 0
  const restart = () => { emptyBlocks = 0 }
  if (start > 0) return { decode: isRefinement ? refineCoefficients : decodeCoefficients, restart }
  return { decode: isRefinement ? () => { reader.bits(1) } : ({ dc }) => { reader.coefficient(dc) }, restart }

  function decodeCoefficients ({ component, ac }: ScanComponent, block: number): void {
    if (emptyBlocks > 0) {
      emptyBlocks--
      return
    }
    for (let k = start; k <= end; k++) {
      const symbol = reader.coefficient(ac)
      const run = symbol >> 4
      const isNew = (symbol & 15) > 0
      if (!isNew && run !== 15) {
        emptyBlocks = (1 << run) + reader.bits(run) - 1
        return
      }
      k += run
      if (isNew && k < 64) component.nonzero![block * 64 + k] = 1
    }
  }

  /** Each nonzero coefficient has its own bit. Runs count the others. */
  function refineCoefficients ({ component, ac }: ScanComponent, block: number): void {
    const nonzero = component.nonzero!
    const first = block * 64
    let k = start
    if (emptyBlocks === 0) {
      for (; k <= end; k++) {
        const symbol = reader.symbol(ac)
        let run = symbol >> 4
        const isNew = (symbol & 15) > 0
        if (isNew) {
          reader.bits(1)
        } else if (run !== 15) {
          emptyBlocks = (1 << run) + reader.bits(run)
          break
        }
        for (; k <= end; k++) {
          if (nonzero[first + k]) reader.bits(1)
          else if (--run < 0) break
        }
        if (isNew && k < 64) nonzero[first + k] = 1
      }
    }
    if (emptyBlocks === 0) return
    for (; k <= end; k++) if (nonzero[first + k]) reader.bits(1)
    emptyBlocks--
  }
}

/** Reads segments and entropy-coded data. */
function createReader (bytes: Buffer) {
  let at = 2
  let held = 0
  let heldBits = 0
  /** The marker that the data end at. */
  let marker: number | undefined
  /** Whether the data had fewer bits than asked for. Zeros take their place. */
  let exhausted = false
  let nextRestart = 0
  return { nextMarker, segment, begin, restart, isExhausted: () => exhausted, coefficient, symbol, bits }

  /** The code of the next marker, wherever it is, or END. */
  function nextMarker (): number {
    const found = marker ?? findMarker()
    marker = undefined
    return found
  }

  function findMarker (): number {
    for (at = bytes.indexOf(0xff, at); at >= 0; at = bytes.indexOf(0xff, at)) {
      while (bytes[at] === 0xff) at++
      const code = bytes[at]
      if (code === undefined) break
      at++
      if (code !== 0) return code
    }
    at = bytes.length
    return END
  }

  function segment (): Buffer {
    const length = at + 2 <= bytes.length ? bytes.readUInt16BE(at) : 0
    const parameters = bytes.subarray(at + 2, at + length)
    at += Math.max(2, length)
    return parameters
  }

  function begin (): void {
    held = heldBits = nextRestart = 0
    marker = undefined
    exhausted = false
  }

  /** Handles a wrong restart marker as jpeg_resync_to_restart does. */
  function restart (): void {
    held = heldBits = 0
    marker ??= findMarker()
    while (marker !== END && marker !== RST0 + nextRestart) {
      const ahead: number = marker - RST0 - nextRestart + 8 & 7
      const isRestart: boolean = marker >= RST0 && marker <= RST7
      if ((!isRestart && marker >= SOF0) || (isRestart && ahead <= 2)) break // the data of this interval are lost
      marker = isRestart && ahead < 6 ? RST0 + nextRestart : findMarker()
    }
    exhausted = marker !== RST0 + nextRestart
    if (!exhausted) marker = undefined
    nextRestart = nextRestart + 1 & 7
  }

  /** Reads until at least 25 bits are held, or the data end. */
  function fill (): void {
    while (heldBits <= 24 && marker === undefined) {
      const byte = bytes[at]
      if (byte === undefined) {
        marker = END
      } else if (byte !== 0xff) {
        at++
        held = held << 8 | byte
        heldBits += 8
      } else {
        let code = at + 1
        while (bytes[code] === 0xff) code++
        at = code + 1
        if (bytes[code] !== 0) marker = bytes[code] ?? END
        else {
          held = held << 8 | 0xff
          heldBits += 8
        }
      }
    }
  }

  function bits (count: number): number {
    if (count === 0) return 0
    if (heldBits < count) fill()
    if (heldBits < count) {
      exhausted = true
      held = heldBits = 0
      return 0
    }
    heldBits -= count
    return held >>> heldBits & (1 << count) - 1
  }

  /** Reads a code and the bits of the value after it. */
  function coefficient (table: HuffmanTable | undefined): number {
    if (heldBits < 24) fill()
    const found = table && heldBits >= 24 ? table.short[held >>> heldBits - 8 & 0xff]! : 0
    if (found > 0) {
      heldBits -= (found >> 8) + (found & 15)
      return found & 0xff
    }
    const code = symbol(table)
    bits(code & 15)
    return code
  }

  /** Reads a code. One that no table has counts as zero, as in libjpeg. */
  function symbol (table: HuffmanTable | undefined): number {
    if (heldBits < 8) fill()
    const found = table && heldBits >= 8 ? table.short[held >>> heldBits - 8 & 0xff]! : 0
    if (found > 0) {
      heldBits -= found >> 8
      return found & 0xff
    }
    let code = 0
    for (let length = 1; length <= 17 && !exhausted; length++) {
      code = code << 1 | bits(1)
      if (table && length <= 16 && code <= table.maxCodes[length]!) {
        return table.values[code + table.offsets[length]!] ?? 0
      }
    }
    return 0
  }
}
