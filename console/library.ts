import { attempt } from './announce.js'
import { api, ask, type Item } from './api.js'
import { button, choice, field, fill, form, h } from './dom.js'
import { openItem } from './item.js'
import type { Me } from './me.js'
import type { paths } from './openapi.js'
import { ledPanel } from './panel/led-panel.js'
import { count, titleOf, wayToTheBag } from './words.js'
import type { View } from './view.js'

type Query = NonNullable<paths['/library']['get']['parameters']['query']>

const PER_PAGE = 24

/** The shared library as a grid of LED panels. */
export function libraryView (me: Me): View {
  const search = h('input', { type: 'search', placeholder: 'Words of the title', maxLength: 255 })
  const type = choice([['', 'All'], ['gif', 'GIFs'], ['image', 'Pictures']])
  const categories = h('datalist', { id: 'categories' })
  const category = h('input', { attrs: { list: 'categories' }, maxLength: 255, placeholder: 'Any' })
  const mine = h('input', { type: 'checkbox' })
  const total = h('p', { class: 'total', role: 'status' })
  const grid = h('ul', { class: 'grid' })
  const more = button('Show more', () => attempt(next), 'more')
  const heading = h('h1', { tabIndex: -1 }, 'Library')
  const known = new Set<string>()
  /** The page after what is shown. */
  let after: Query | undefined
  let shownTotal = { pictures: 0, isExact: true }
  let asked = 0
  /** The first page that is under way: Enter in a field asks for it twice. */
  let underWay = ''

  const filters = form(show,
    field('Search', search),
    field('Type', type),
    field('Category', category),
    h('label', { class: 'check' }, mine, ' Only mine'),
    h('button', { class: 'visually-hidden' }, 'Search'),
    categories)
  filters.classList.add('filters')
  filters.role = 'search'
  for (const control of [search, type, category, mine]) control.addEventListener('change', () => show())
  const element = h('section', { class: 'library' },
    h('div', { class: 'heading' }, heading, total),
    filters, grid, more)
  more.hidden = true
  return { element, show }

  async function show (): Promise<void> {
    const query = firstPage()
    const text = JSON.stringify(query)
    if (text === underWay) return
    underWay = text
    await attempt(() => load(query))
    if (underWay === text) underWay = ''
  }

  async function next (): Promise<void> {
    const before = grid.children.length
    if (after) await load(after)
    grid.children[before]?.querySelector<HTMLElement>('.open')?.focus()
  }

  function firstPage (): Query {
    return {
      per_page: PER_PAGE,
      ...(search.value.trim() !== '' && { q: search.value }),
      ...(type.value !== '' && { type: type.value as 'gif' | 'image' }),
      ...(category.value.trim() !== '' && { category: category.value.trim() }),
      ...(mine.checked && { mine: true })
    }
  }

  async function load (query: Query): Promise<void> {
    const number = ++asked
    const page = await ask(api.GET('/library', { params: { query } }))
    if (number !== asked) return // a later question was asked meanwhile
    const cards = page.items.map(card)
    if (query.cursor === undefined) fill(grid, ...cards)
    else grid.append(...cards)
    after = page.next_cursor === null ? undefined : { ...query, cursor: page.next_cursor }
    more.hidden = !after
    showTotal(page.total, page.total_exact)
    if (grid.children.length === 0) fill(grid, nothing())
    for (const item of page.items) known.add(item.category)
    fill(categories, ...[...known].sort().map(value => h('option', { value })))
  }

  function card (item: Item): HTMLElement {
    const title = titleOf(item)
    const effects = { changed: replace, gone: remove, blocked }
    const open = button(h('bdi', {}, title), () => { openItem(item, me, effects) }, 'open')
    const element = h('li', { class: 'card' },
      ledPanel(title, item, { isNamedBeside: true }).element,
      h('div', { class: 'words' },
        h('h2', {}, open),
        h('p', { class: 'by' },
          item.user_id === item.owner_id ? 'Somebody without a name' : h('bdi', {}, item.user_id)),
        h('p', { class: 'bag' }, wayToTheBag(item) ?? item.category)),
      item.hidden && h('p', { class: 'badge' }, 'Hidden'))
    element.dataset.id = item.id
    return element
  }

  function showTotal (pictures: number, isExact: boolean): void {
    shownTotal = { pictures, isExact }
    total.textContent = `${isExact ? '' : 'at least '}${count(pictures, 'picture')}`
  }

  function replace (item: Item): void {
    const next = card(item)
    cardOf(item)?.replaceWith(next)
    next.querySelector<HTMLElement>('.open')?.focus()
  }

  /** Takes one card out. The pages that were loaded after it stay. */
  function remove (item: Item): void {
    const old = cardOf(item)
    const next = old?.nextElementSibling ?? old?.previousElementSibling
    ;(next?.querySelector<HTMLElement>('.open') ?? heading).focus()
    if (old) showTotal(Math.max(0, shownTotal.pictures - 1), shownTotal.isExact)
    old?.remove()
    if (grid.children.length === 0) show()
  }

  function blocked (): void {
    heading.focus()
    show()
  }

  function cardOf ({ id }: Item): Element | null {
    return grid.querySelector(`[data-id="${id}"]`)
  }

  function nothing (): HTMLElement {
    const isFiltered = [search.value, type.value, category.value].some(value => value !== '')
    const words = mine.checked ? 'You have uploaded nothing yet.' : 'The library is empty.'
    return h('li', { class: 'empty' },
      ledPanel('A panel without a picture').element,
      h('p', {}, isFiltered ? 'Nothing matches these filters.' : words),
      !isFiltered && h('a', { href: '#upload', class: 'button main' }, 'Upload the first picture'))
  }
}
