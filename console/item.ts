import { announce, attempt } from './announce.js'
import { api, ask, askOr, type Item } from './api.js'
import { closeDialog, openDialog } from './dialog.js'
import { button, choice, field, form, h, twice } from './dom.js'
import type { Me } from './me.js'
import { ledPanel } from './panel/led-panel.js'
import { REASONS, type Reason } from './reasons.js'
import { bytes, count, date, titleOf, wayToTheBag } from './words.js'

interface Effects {
  changed: (item: Item) => void
  /** It was deleted, or is out of the caller's lists. */
  gone: (item: Item) => void
  /** All of its owner's items are out of the caller's lists. */
  blocked: () => void
}

const dialog = document.getElementById('item') as HTMLDialogElement

/** Shows one item, and all that the caller may do with it. */
export function openItem (item: Item, me: Me, effects: Effects): void {
  const title = titleOf(item)
  const isOwn = item.owner_id === me.account
  dialog.setAttribute('aria-label', title)
  const content = h('div', { class: 'item' },
    ledPanel(title, item).element,
    h('div', { class: 'about' },
      h('h2', { tabIndex: -1, autofocus: true }, h('bdi', {}, title)),
      facts(item),
      item.hidden && h('p', { class: 'badge' }, 'Hidden after reports: only you and moderators see it'),
      isOwn ? changes() : me.isAdmin && h('details', {}, h('summary', {}, 'Change it'), changes()),
      !isOwn && !item.hidden && report(),
      !isOwn && item.owner_id !== null && blocking(item.owner_id)),
    button('Close', () => { dialog.close() }, 'close'))
  openDialog(dialog, content)

  /** The answer may come late, when the dialog shows another item. */
  function close (): void {
    if (content.isConnected) closeDialog(dialog)
  }

  function changes (): HTMLElement {
    const name = h('input', { value: item.title ?? '', maxLength: 255 })
    const category = h('input', { value: item.category, maxLength: 255 })
    return h('div', {},
      form(() => attempt(async () => {
        const body = { title: name.value, category: category.value }
        const changed = await ask(api.PATCH('/library/{id}', { params: { path: { id: item.id } }, body }))
        close()
        effects.changed(changed)
        announce('Saved.')
      }), field('Title', name), field('Category', category), h('button', { class: 'main' }, 'Save')),
      twice('Delete', 'Delete it for good', () => attempt(async () => {
        await askOr(404, api.DELETE('/library/{id}', { params: { path: { id: item.id } } }))
        close()
        effects.gone(item)
        announce(`${title} is deleted.`)
      })))
  }

  function report (): HTMLElement {
    const reason = choice(Object.entries(REASONS))
    const comment = h('textarea', { rows: 3, maxLength: 500 })
    return h('details', {}, h('summary', {}, 'Report it'),
      form(() => attempt(async () => {
        const body = { reason: reason.value as Reason, ...(comment.value.trim() !== '' && { comment: comment.value }) }
        await ask(api.POST('/library/{id}/reports', { params: { path: { id: item.id } }, body }))
        close()
        effects.gone(item)
        announce('Thank you. A moderator will look at it, and you no longer see it.')
      }), field('Reason', reason), field('Comment', comment, 'If you like. At most 500 characters.'),
      h('button', { class: 'main' }, 'Send the report')))
  }

  function blocking (owner: string): HTMLElement {
    return twice('Block the uploader', 'Hide all of their pictures from me', () => attempt(async () => {
      await ask(api.PUT('/users/me/blocks/{id}', { params: { path: { id: owner } } }))
      close()
      effects.blocked()
      announce('You no longer see what they upload. Your account page can undo this.')
    }))
  }
}

function facts (item: Item): HTMLElement {
  const entries: Array<[name: string, value: string | undefined]> = [
    ['Label', item.user_id],
    ['Uploaded', date(item.created_at)],
    ['Category', item.category],
    ['On the panel', wayToTheBag(item)],
    ['Original', item.width === undefined ? undefined : original(item)]
  ]
  return h('dl', {}, ...entries.flatMap(([name, value]) =>
    value === undefined ? [] : [h('div', {}, h('dt', {}, name), h('dd', {}, h('bdi', {}, value)))]))
}

function original ({ width, height, size, frames = 1 }: Item): string {
  return [`${width} × ${height}`, bytes(size ?? 0), ...(frames > 1 ? [count(frames, 'frame')] : [])].join(', ')
}
