import { announce, attempt } from './announce.js'
import { api, ask, askOr } from './api.js'
import { busy, button, fill, h } from './dom.js'
import type { Me } from './me.js'
import type { components, paths } from './openapi.js'
import { ledPanel } from './panel/led-panel.js'
import { isPaused } from './panel/playback.js'
import { REASONS, type Reason } from './reasons.js'
import { Refusal } from './refusal.js'
import type { View } from './view.js'
import { count, date, titleOf, wayToTheBag } from './words.js'

type Entry = components['schemas']['ReportedItem']
type Decision = paths['/library/{id}/review']['post']['requestBody']['content']['application/json']['decision']

const PER_PAGE = 50
/** The next page is loaded when fewer entries wait. */
const FEW = 10
/** A key decides only when the picture has been seen for this long. */
const LOOK_MS = 400
const DONE: Record<Decision, string> = { keep: 'Kept', hide: 'Hidden', remove: 'Removed' }

/** For admins: the reported items, one at a time. Each decision has a key, which is shown on its button. */
export function reportsView (me: Me): View {
  const place = h('p', { class: 'total', role: 'status' })
  const card = h('article', { class: 'report', tabIndex: -1, attrs: { 'aria-labelledby': 'reported' } })
  const withKeys = h('input', { type: 'checkbox', checked: true })
  const undo = h('ul', { class: 'rows' })
  const justBlocked = h('div', { hidden: true }, h('h2', {}, 'Blocked just now'), undo)
  const element = h('section', { class: 'reports' },
    h('div', { class: 'heading' },
      h('h1', { tabIndex: -1 }, 'Reports'), place,
      h('label', { class: 'check' }, withKeys, ' Keyboard shortcuts')),
    card, justBlocked)
  /** Entries that wait, the one that is shown first. */
  let queue: Entry[] = []
  /** The page after the queue: undefined is the first one, null none. */
  let cursor: string | null | undefined
  let actions = new Map<string, HTMLButtonElement>()
  /** When the picture was painted, on the clock of `event.timeStamp`. */
  let paintedAt = Infinity
  /** The owners that were blocked here, each with the title of a picture. */
  const blocked = new Map<string, string>()

  // the second press of a double click would decide about the next picture
  card.addEventListener('click', event => { if (event.detail > 1) event.stopPropagation() }, { capture: true })
  document.addEventListener('keydown', event => {
    if (element.hidden || !element.isConnected || !withKeys.checked) return
    const { target, key, code, repeat, ctrlKey, metaKey, altKey, shiftKey } = event
    if (repeat || ctrlKey || metaKey || altKey || shiftKey || document.querySelector('dialog[open]')) return
    if (target instanceof Element && target.closest('input:not([type=checkbox]), textarea, select') !== null) return
    if (!(event.timeStamp - paintedAt >= LOOK_MS)) return
    const isLatin = /^[ -~]$/.test(key)
    actions.get(isLatin ? key.toLowerCase() : code.replace('Key', '').toLowerCase())?.click()
  })
  return { element, show }

  function show (): void {
    busy(card, () => attempt(async () => {
      const shown = queue[0]?.item.id
      try {
        await collect([], undefined)
        queue.sort((a, b) => Number(b.item.id === shown) - Number(a.item.id === shown))
      } finally {
        showFirst()
      }
    }))
  }

  /** Fills the queue with these entries and the pages from a cursor on, until enough wait. A page may be empty. */
  async function collect (entries: Entry[], from: string | null | undefined): Promise<void> {
    while (entries.length < FEW && from !== null) {
      const query = { limit: PER_PAGE, ...(from !== undefined && { cursor: from }) }
      const page = await ask(api.GET('/library/reports', { params: { query } }))
      const known = new Set(entries.map(({ item }) => item.id))
      entries = [...entries, ...page.reports.filter(({ item }) => !known.has(item.id))]
      from = page.next_cursor
    }
    queue = entries
    cursor = from
  }

  function showFirst (): void {
    const entry = queue[0]
    place.textContent = entry ? `${count(queue.length, 'picture')}${cursor === null ? '' : ' and more'}` : ''
    actions = entry ? actionsFor(entry) : new Map()
    if (!entry) return showNothing()
    const { item } = entry
    const owner = h('p', {})
    attempt(() => showOwner(owner, item.owner_id))
    const picture = h('img', { alt: '' })
    const showOriginal = () => { picture.src = item.original_url ?? item.url }
    const isOnRequest = isPaused() && item.type === 'gif' // the browser would play it
    if (!isOnRequest) showOriginal()
    fill(card,
      h('div', { class: 'pictures' },
        ledPanel(titleOf(item), item).element,
        h('figure', {}, picture, h('figcaption', {}, 'Original'),
          isOnRequest && button('Show the original', showOriginal))),
      h('div', { class: 'about' },
        h('h2', { id: 'reported' }, h('bdi', {}, titleOf(item))),
        owner,
        h('p', {}, 'Label ', h('bdi', {}, item.user_id), `, ${date(item.created_at)}`,
          item.hidden && h('span', { class: 'badge is-bad' }, 'Hidden')),
        h('p', { class: 'hint' }, wayToTheBag(item) ?? ''),
        h('ul', { class: 'reasons' }, ...Object.entries(entry.reasons).map(([reason, n]) =>
          h('li', {}, h('strong', {}, String(n)), ` ${REASONS[reason as Reason] ?? reason}`))),
        h('p', { class: 'hint' },
          `${count(entry.count, 'report')}, first ${date(entry.first_at)}, last ${date(entry.last_at)}`),
        h('ul', { class: 'comments' }, ...entry.comments.map(({ reason, text }) =>
          h('li', {}, h('small', {}, REASONS[reason as Reason] ?? reason), h('q', {}, h('bdi', {}, text))))),
        h('div', { class: 'decisions' }, ...actions.values())))
    waitForPaint(picture, isOnRequest)
  }

  /** The account itself. The label is what its owner wrote on the upload, perhaps somebody else's name. */
  async function showOwner (place: HTMLElement, id: string | null): Promise<void> {
    if (id === null) return fill(place, 'It belongs to no account.')
    const user = await askOr(404, api.GET('/users/{id}', { params: { path: { id } } }))
    fill(place, 'From ', ...(user ? [h('bdi', {}, user.username), `, ${user.number}`] : ['an account without a name']))
  }

  function showNothing (): void {
    const isAll = cursor === null
    fill(card,
      h('p', { class: 'none', id: 'reported' },
        isAll ? 'No reports are open.' : 'The next reports are not loaded yet.'),
      !isAll && button('Load them', show, 'more'))
  }

  function waitForPaint (picture: HTMLImageElement, isOnRequest: boolean): void {
    paintedAt = Infinity
    card.classList.remove('is-painted')
    const painted = () => {
      if (!picture.isConnected) return
      paintedAt = performance.now()
      card.classList.add('is-painted')
    }
    if (isOnRequest) requestAnimationFrame(painted) // the panel shows the first frame
    picture.addEventListener('load', painted)
    picture.addEventListener('error', painted)
  }

  function actionsFor (entry: Entry): Map<string, HTMLButtonElement> {
    const { owner_id: owner } = entry.item
    const entries: Array<[key: string, words: string, task: () => unknown, classes: string]> = [
      ['k', 'Keep', () => decide(entry, 'keep'), ''],
      ['h', 'Hide', () => decide(entry, 'hide'), ''],
      ['r', 'Remove', () => decide(entry, 'remove'), 'danger']
    ]
    if (owner !== null && owner !== me.account && !blocked.has(owner)) { // nobody locks themself out
      entries.push(['b', 'Block the owner', () => block(owner, titleOf(entry.item)), 'danger'])
    }
    entries.push(['s', 'Skip', skip, 'quiet'])
    return new Map(entries.map(([key, words, task, classes]) => {
      const element = button(words, () => attempt(async () => { await task() }), classes, card)
      element.append(' ', h('kbd', {}, key.toUpperCase()))
      element.setAttribute('aria-keyshortcuts', key.toUpperCase())
      return [key, element]
    }))
  }

  async function decide (entry: Entry, decision: Decision): Promise<void> {
    const { id } = entry.item
    let outcome = DONE[decision]
    await ask(api.POST('/library/{id}/review', { params: { path: { id } }, body: { decision } })).catch(error => {
      if (!(error instanceof Refusal && error.status === 404)) throw error
      outcome = 'Somebody else removed it before'
    })
    await advance(entry, `${outcome}: ${titleOf(entry.item)}.`)
  }

  async function block (owner: string, title: string): Promise<void> {
    await ask(api.PATCH('/users/{id}', { params: { path: { id: owner } }, body: { blocked: true } }))
    blocked.set(owner, title)
    actions.get('b')!.remove()
    actions.delete('b')
    showBlocked()
    card.focus()
    announce('The owner is blocked and signed out. Decide about the picture too.')
  }

  async function unblock (owner: string): Promise<void> {
    await ask(api.PATCH('/users/{id}', { params: { path: { id: owner } }, body: { blocked: false } }))
    blocked.delete(owner)
    showBlocked()
    showFirst()
    card.focus()
    announce('The owner is unblocked.')
  }

  /** An owner without a name is in no list of people, so this is the place to undo a slip. */
  function showBlocked (): void {
    justBlocked.hidden = blocked.size === 0
    fill(undo, ...[...blocked].map(([owner, title]) => h('li', {},
      h('div', {}, h('strong', {}, 'The owner of ', h('bdi', {}, title)), h('small', {}, `Account ${owner}`)),
      button('Unblock', () => attempt(() => unblock(owner)), 'quiet', card))))
  }

  function skip (): void {
    queue.push(...queue.splice(0, 1))
    showFirst()
    card.focus()
  }

  /** The decision is stored, so its entry leaves in any case, also if the next ones cannot be loaded. */
  async function advance (entry: Entry, words: string): Promise<void> {
    queue = queue.filter(other => other !== entry)
    try {
      await collect(queue, queue.length === 0 && cursor === null ? undefined : cursor)
    } finally {
      showFirst()
      card.focus()
    }
    announce(`${words} ${queue.length === 0 ? 'No reports are open.' : `${queue.length} left.`}`)
  }
}
