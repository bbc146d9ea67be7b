/** Bytes of an Exif block in which the orientation is searched: the most that a JPEG segment can hold. */
export const EXIF_BYTES = 65_533

const PREFIX = 'Exif\0'
export const PREFIX_BYTES = 6
const IFD_OFFSET = 8
const ENTRY_BYTES = 12
const ORIENTATION = 0x0112
const SHORT = 3

/** The offset of the TIFF header in an Exif block. Some writers put JPEG's `Exif` before it in other formats too. */
const tiffOffset = (exif: Buffer) => hasPrefix(exif) ? PREFIX_BYTES : 0

export const hasPrefix = (exif: Buffer) => exif.toString('latin1', 0, PREFIX.length) === PREFIX

/** The orientation, 1 to 8, in the first directory of an Exif block (TIFF 6.0, Exif 2.3 §4.6.4), or undefined. */
export function readOrientation (exif: Buffer): number | undefined {
  const tiff = exif.subarray(tiffOffset(exif))
  const order = tiff.toString('latin1', 0, 4)
  if (tiff.length < IFD_OFFSET || (order !== 'II*\0' && order !== 'MM\0*')) return undefined
  const uint16 = (at: number) => order === 'II*\0' ? tiff.readUInt16LE(at) : tiff.readUInt16BE(at)
  const uint32 = (at: number) => order === 'II*\0' ? tiff.readUInt32LE(at) : tiff.readUInt32BE(at)
  const directory = uint32(4)
  if (directory < IFD_OFFSET || directory + 2 > tiff.length) return undefined
  const entries = directory + 2
  const end = Math.min(entries + uint16(directory) * ENTRY_BYTES, tiff.length - ENTRY_BYTES + 1)
  for (let entry = entries; entry < end; entry += ENTRY_BYTES) {
    if (uint16(entry) !== ORIENTATION) continue
    const value = uint16(entry + 8)
    return uint16(entry + 2) === SHORT && uint32(entry + 4) === 1 && value >= 1 && value <= 8 ? value : undefined
  }
  return undefined
}

/**
 * Overwrites an Exif block at the same length. Only the orientation stays, unless it is upright. Returns whether
 * something is left. A misplaced JPEG prefix goes too, because not every decoder looks behind it.
 */
export function reduceExif (exif: Buffer, orientation: number | undefined): boolean {
  const left = orientation !== undefined && orientation > 1
  exif.fill(0)
  if (left) orientationTiff(orientation).copy(exif)
  return left
}

/** A TIFF header and a directory with one entry: 22 bytes, and the offset of a next directory, which may be cut off. */
function orientationTiff (orientation: number): Buffer {
  const tiff = Buffer.alloc(26)
  tiff.write('MM\0*', 'latin1')
  tiff.writeUInt32BE(IFD_OFFSET, 4)
  tiff.writeUInt16BE(1, IFD_OFFSET)
  tiff.writeUInt16BE(ORIENTATION, 10)
  tiff.writeUInt16BE(SHORT, 12)
  tiff.writeUInt32BE(1, 14)
  tiff.writeUInt16BE(orientation, 18)
  return tiff
}
