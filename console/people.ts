import { announce, attempt } from './announce.js'
import { api, ask, askOr } from './api.js'
import { button, field, fill, form, h, twice } from './dom.js'
import type { Me } from './me.js'
import type { components, paths } from './openapi.js'
import type { View } from './view.js'
import { date } from './words.js'

type User = components['schemas']['ManagedUser']
type Query = NonNullable<paths['/users']['get']['parameters']['query']>
type Page = paths['/users']['get']['responses'][200]['content']['application/json']
const PER_PAGE = 50

/** For admins: finds users, blocks them and lets them in again. */
export function peopleView (me: Me): View {
  const words = h('input', { type: 'search', maxLength: 64 })
  const list = h('ul', { class: 'rows' })
  const none = h('p', { class: 'none', role: 'status' })
  const more = button('Show more', () => attempt(async () => { if (after) await load(after) }), 'more')
  /** The page after what is shown. */
  let after: Query | undefined
  let asked = 0
  const search = form(show, field('Name or phone number', words, 'The beginning of the name, or the whole number'),
    h('button', { class: 'main' }, 'Search'))
  search.role = 'search'
  search.classList.add('filters')
  const element = h('section', { class: 'people' }, h('h1', { tabIndex: -1 }, 'People'), search, none, list, more)
  return { element, show }

  async function show (): Promise<void> {
    await attempt(() => load(firstPage()))
  }

  function firstPage (): Query {
    const text = words.value.trim()
    const isNumber = /^\+?[\p{Nd}\s()-]{6,}$/u.test(text)
    return { limit: PER_PAGE, ...(text !== '' && (isNumber ? { number: text } : { username: text })) }
  }

  async function load (query: Query): Promise<void> {
    const number = ++asked
    const page = await find(query)
    if (number !== asked) return // a later question was asked meanwhile
    const rows = page.users.map(row)
    if (query.cursor === undefined) fill(list, ...rows)
    else list.append(...rows)
    none.textContent = list.children.length === 0 ? 'No user found.' : ''
    after = page.next_cursor === null ? undefined : { ...query, cursor: page.next_cursor }
    more.hidden = !after
  }

  /** A name may look like a number. */
  async function find (query: Query): Promise<Page> {
    const { number: digits, ...others } = query
    if (digits === undefined) return await ask(api.GET('/users', { params: { query } }))
    const page = await askOr(400, api.GET('/users', { params: { query } }))
    return page && page.users.length > 0 ? page : await find({ ...others, username: digits })
  }

  function row (user: User): HTMLElement {
    const verb = user.blocked ? 'Unblock' : 'Block'
    const task = () => attempt(async () => {
      const body = { blocked: !user.blocked }
      const changed = await ask(api.PATCH('/users/{id}', { params: { path: { id: user._id } }, body }))
      announce(`${user.username} is ${changed.blocked ? 'blocked and signed out' : 'unblocked'}.`)
      const next = row({ ...user, blocked: changed.blocked ?? body.blocked })
      element.replaceWith(next)
      next.querySelector('button')?.focus()
    })
    const change = user.blocked
      ? button(verb, task, 'quiet')
      : twice(verb, `Block ${user.username} and end all sessions`, task, 'danger quiet')
    ;(change.querySelector('button') ?? change).ariaLabel = `${verb} ${user.username}`
    const element = h('li', {},
      h('div', {},
        h('strong', {}, h('bdi', {}, user.username)),
        h('small', {}, `${user.number}, since ${date(user.created_on)}`)),
      user.admin && h('span', { class: 'badge' }, 'Admin'),
      user.blocked && h('span', { class: 'badge is-bad' }, 'Blocked'),
      user._id !== me.account && change) // nobody locks themself out
    return element
  }
}
