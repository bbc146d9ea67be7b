import { announce, attempt } from './announce.js'
import { api, ask } from './api.js'
import { button, field, fill, form, h, twice } from './dom.js'
import type { Me } from './me.js'
import type { components } from './openapi.js'
import type { View } from './view.js'
import { date } from './words.js'

type User = components['schemas']['ManagedUser']
const PER_PAGE = 50

/** For admins: finds users, blocks them and lets them in again. */
export function peopleView (me: Me): View {
  const query = h('input', { type: 'search', maxLength: 64 })
  const list = h('ul', { class: 'rows' })
  const more = button('Show more', () => attempt(() => load(cursor ?? undefined)), 'more')
  let cursor: string | null = null
  const search = form(show, field('Name or phone number', query, 'The beginning of the name, or the whole number'),
    h('button', { class: 'main' }, 'Search'))
  search.role = 'search'
  search.classList.add('filters')
  const element = h('section', { class: 'people' }, h('h1', { tabIndex: -1 }, 'People'), search, list, more)
  return { element, show }

  async function show (): Promise<void> {
    await attempt(() => load(undefined))
  }

  async function load (from: string | undefined): Promise<void> {
    const text = query.value.trim()
    const isNumber = /^\+?[\p{Nd}\s()-]{6,}$/u.test(text)
    const page = await ask(api.GET('/users', {
      params: {
        query: {
          limit: PER_PAGE,
          ...(from !== undefined && { cursor: from }),
          ...(text !== '' && (isNumber ? { number: text } : { username: text }))
        }
      }
    }))
    const rows = page.users.map(row)
    if (from === undefined) fill(list, ...rows)
    else list.append(...rows)
    if (list.children.length === 0) fill(list, h('li', { class: 'none' }, 'Nobody is found.'))
    cursor = page.next_cursor
    more.hidden = cursor === null
  }

  function row (user: User): HTMLElement {
    const words = user.blocked ? 'Unblock' : 'Block'
    const task = () => attempt(async () => {
      const body = { blocked: !user.blocked }
      const changed = await ask(api.PATCH('/users/{id}', { params: { path: { id: user._id } }, body }))
      announce(`${user.username} is ${changed.blocked ? 'blocked and signed out' : 'unblocked'}.`)
      const next = row({ ...user, blocked: changed.blocked ?? body.blocked })
      element.replaceWith(next)
      next.querySelector('button')?.focus()
    })
    const change = user.blocked
      ? button(words, task, 'quiet')
      : twice(words, `Block ${user.username} and end all sessions`, task, 'danger quiet')
    ;(change.querySelector('button') ?? change).ariaLabel = `${words} ${user.username}`
    const element = h('li', {},
      h('div', {}, h('strong', {}, user.username), h('small', {}, `${user.number}, since ${date(user.created_on)}`)),
      user.admin && h('span', { class: 'badge' }, 'Admin'),
      user.blocked && h('span', { class: 'badge is-bad' }, 'Blocked'),
      user._id !== me.account && change) // nobody locks themself out
    return element
  }
}
