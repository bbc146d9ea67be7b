import { ObjectId } from 'mongodb'

const BATCH = 5000

/** Adds rows until the library has this many. The service counts them at its next start. */
export async function fill (db, rows) {
  const library = db.collection('library')
  await db.collection('library_state').deleteMany({})
  const first = await library.countDocuments()
  for (let from = first; from < rows; from += BATCH) {
    await library.insertMany(Array.from({ length: Math.min(BATCH, rows - from) }, (_, i) => item(from + i)), {
      ordered: false
    })
  }
}

/** A row as an upload writes it. Each is a second newer than the one before. */
export function item (number) {
  const hex = number.toString(16).padStart(12, '0')
  const date = new Date(Date.UTC(2020, 0, 1) + number * 1000)
  return {
    _id: new ObjectId(Math.floor(date / 1000).toString(16).padStart(8, '0') + hex.padStart(16, '0')),
    key: `library/00000000-0000-4000-8000-${hex}/original.gif`,
    owner: new ObjectId(String(number % 100_000).padStart(24, '0')),
    user_id: 'meera',
    category: 'GIF',
    title: `Dancing fox ${number % 2 ? 'odd' : 'even'} ${number}`,
    words: ['dancing', 'fox', number % 2 ? 'odd' : 'even', String(number)],
    type: 'gif',
    content_type: 'image/gif',
    size: 48213,
    sha256: hex.padStart(64, '0'),
    width: 320,
    height: 240,
    frames: 24,
    duration_ms: 1920,
    dominant_color: '#e87830',
    renditions: [{ size: '64x64', bytes: 18213, frames: 24, duration_ms: 1920 }],
    created_at: date
  }
}

/** The row as the contenders answer it, with the members that the service answers. `base` is the bucket's URL. */
export function present (base, {
  _id,
  key,
  owner,
  user_id: userId,
  created_at: createdAt,
  type,
  category,
  title,
  content_type: contentType,
  size,
  sha256,
  width,
  height,
  frames,
  duration_ms: duration,
  dominant_color: color,
  renditions
}) {
  const url = `${base}/${key}`
  return {
    id: _id.toHexString(),
    url,
    user_id: userId,
    created_at: createdAt.toISOString(),
    type,
    category,
    owner_id: owner?.toHexString() ?? null,
    title,
    original_url: url,
    content_type: contentType,
    size,
    sha256,
    width,
    height,
    frames,
    duration_ms: duration,
    dominant_color: color,
    renditions: Object.fromEntries(renditions.map(({ size, ...rest }) => [size, {
      url: url.replace(/[^/]+$/, `${size}.gif`),
      content_type: 'image/gif',
      ...rest,
      ble_seconds: Math.ceil(rest.bytes / 900) / 10
    }]))
  }
}

/** Prints where the items or the totals of two answers differ, because both ways must do the same work. */
export function compareLists ({ items, total }, theirs, name = '') {
  const differing = new Set(theirs.items.flatMap((item, i) =>
    Object.keys(item).filter(member => JSON.stringify(item[member]) !== JSON.stringify(items[i]?.[member]))))
  if (total !== theirs.total) console.log(`\nNOT ALIKE${name}: a total of ${total}, and of ${theirs.total}`)
  if (differing.size > 0) console.log(`\nNOT ALIKE${name}: ${[...differing].join(', ')}`)
}
