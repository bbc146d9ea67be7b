import { announce, attempt } from './announce.js'
import { api, ask, askOr, type Item } from './api.js'
import { button, fill, h } from './dom.js'
import type { components, paths } from './openapi.js'
import { ledPanel } from './panel/led-panel.js'
import { REASONS, type Reason } from './reasons.js'
import type { View } from './view.js'
import { count, date, titleOf, wayToTheBag } from './words.js'

type Entry = components['schemas']['ReportedItem']
type Decision = paths['/library/{id}/review']['post']['requestBody']['content']['application/json']['decision']

const PER_PAGE = 50
const DONE: Record<Decision, string> = { keep: 'Kept', hide: 'Hidden', remove: 'Removed' }

/** For admins: the reported items, one at a time. Each decision has a key, which is shown on its button. */
export function reportsView (): View {
  const place = h('p', { class: 'total' })
  const card = h('article', { class: 'report', tabIndex: -1 })
  const withKeys = h('input', { type: 'checkbox', checked: true })
  const element = h('section', { class: 'reports' },
    h('div', { class: 'heading' },
      h('h1', { tabIndex: -1 }, 'Reports'), place,
      h('label', { class: 'check' }, withKeys, ' Keys decide')),
    card)
  /** Entries that wait, the one that is shown first. */
  let queue: Entry[] = []
  let cursor: string | null = null
  let blocked: string | undefined
  let actions = new Map<string, HTMLButtonElement>()

  document.addEventListener('keydown', event => {
    const { target, key, ctrlKey, metaKey, altKey } = event
    const isTyping = target instanceof Element && target.closest('input, textarea, select, dialog') !== null
    if (element.hidden || !element.isConnected || isTyping || !withKeys.checked || ctrlKey || metaKey || altKey) return
    actions.get(key.toLowerCase())?.click()
  })
  return { element, show }

  async function show (): Promise<void> {
    await attempt(async () => {
      await load(undefined)
      showFirst()
    })
  }

  async function load (from: string | undefined): Promise<void> {
    const query = { limit: PER_PAGE, ...(from !== undefined && { cursor: from }) }
    const page = await ask(api.GET('/library/reports', { params: { query } }))
    queue = page.reports
    cursor = page.next_cursor
  }

  function showFirst (): void {
    const entry = queue[0]
    blocked = undefined
    place.textContent = entry ? `${count(queue.length, 'picture')}${cursor === null ? '' : ' and more'}` : ''
    actions = entry ? actionsFor(entry) : new Map()
    if (!entry) return fill(card, h('p', { class: 'none' }, 'No reports are open.'))
    const { item } = entry
    fill(card,
      h('div', { class: 'pictures' }, ledPanel(titleOf(item), item).element, original(item)),
      h('div', { class: 'about' },
        h('h2', {}, titleOf(item)),
        h('p', {}, `From ${item.user_id}, ${date(item.created_at)}`, item.hidden && h('span', { class: 'badge is-bad' }, 'Hidden')),
        h('p', { class: 'hint' }, wayToTheBag(item) ?? ''),
        h('ul', { class: 'reasons' }, ...Object.entries(entry.reasons).map(([reason, n]) =>
          h('li', {}, h('strong', {}, String(n)), ` ${REASONS[reason as Reason] ?? reason}`))),
        h('p', { class: 'hint' }, `${count(entry.count, 'report')}, first ${date(entry.first_at)}, last ${date(entry.last_at)}`),
        h('ul', { class: 'comments' }, ...entry.comments.map(({ reason, text }) =>
          h('li', {}, h('small', {}, REASONS[reason as Reason] ?? reason), h('q', {}, text)))),
        h('div', { class: 'decisions' }, ...actions.values())))
  }

  function actionsFor (entry: Entry): Map<string, HTMLButtonElement> {
    const owner = entry.item.owner_id
    const entries: Array<[key: string, words: string, task: () => unknown, classes: string]> = [
      ['k', 'Keep', () => decide(entry, 'keep'), ''],
      ['h', 'Hide', () => decide(entry, 'hide'), ''],
      ['r', 'Remove', () => decide(entry, 'remove'), 'danger']
    ]
    if (owner !== null) entries.push(['b', 'Block the owner', () => block(owner), 'danger'])
    entries.push(['s', 'Skip', skip, 'quiet'])
    return new Map(entries.map(([key, words, task, classes]) => {
      const element = button(words, () => attempt(async () => { await task() }), classes)
      element.append(' ', h('kbd', {}, key.toUpperCase()))
      element.setAttribute('aria-keyshortcuts', key.toUpperCase())
      return [key, element]
    }))
  }

  async function decide ({ item }: Entry, decision: Decision): Promise<void> {
    // 404: another moderator was first
    await askOr(404, api.POST('/library/{id}/review', { params: { path: { id: item.id } }, body: { decision } }))
    await advance(`${DONE[decision]}: ${titleOf(item)}.`)
  }

  async function block (owner: string): Promise<void> {
    const next = blocked === undefined
    await ask(api.PATCH('/users/{id}', { params: { path: { id: owner } }, body: { blocked: next } }))
    blocked = next ? owner : undefined
    actions.get('b')!.firstChild!.textContent = next ? 'Unblock the owner' : 'Block the owner'
    announce(next ? 'The owner is blocked and signed out. Decide about the picture too.' : 'The owner is unblocked.')
  }

  async function skip (): Promise<void> {
    const [first, ...rest] = queue
    queue = first && rest.length > 0 ? [...rest, first] : queue
    showFirst()
    card.focus()
  }

  async function advance (words: string): Promise<void> {
    queue = queue.slice(1)
    if (queue.length === 0) await load(undefined)
    showFirst()
    card.focus()
    announce(`${words} ${queue.length === 0 ? 'No reports are open.' : `${queue.length} left.`}`)
  }
}

function original (item: Item): HTMLElement {
  return h('figure', {}, h('img', { src: item.original_url ?? item.url, alt: '', loading: 'lazy' }), h('figcaption', {}, 'Original'))
}
