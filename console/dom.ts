type Child = Node | string | null | undefined | false

/** An element's own properties, its classes, its listeners, and attributes that are no properties. */
type Properties<T> = Partial<Omit<T, 'style' | 'dataset' | 'children'>> & {
  class?: string
  on?: Partial<{ [K in keyof HTMLElementEventMap]: (event: HTMLElementEventMap[K]) => void }>
  attrs?: Record<string, string>
}

/** Makes an element. Text becomes text nodes, never HTML. */
export function h<K extends keyof HTMLElementTagNameMap> (
  tag: K,
  properties: Properties<HTMLElementTagNameMap[K]> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  const { class: classes, on = {}, attrs = {}, ...own } = properties
  Object.assign(element, own)
  if (tag === 'ul') element.role = 'list' // Safari takes a list without bullets for none
  if (classes) element.className = classes
  for (const [name, value] of Object.entries(attrs)) element.setAttribute(name, value)
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener as EventListener)
  element.append(...children.filter(isThere))
  return element
}

const isThere = (child: Child): child is Node | string => child !== null && child !== undefined && child !== false

/** Replaces what an element holds. */
export function fill (element: Element, ...children: Child[]): void {
  element.replaceChildren(...children.filter(isThere))
}

let fields = 0

/** A control with its label, and perhaps a hint that screen readers read with it. */
export function field (label: string, control: HTMLElement, hint?: string): HTMLElement {
  control.id = `field-${++fields}`
  if (hint) control.setAttribute('aria-describedby', `${control.id}-hint`)
  return h('div', { class: 'field' },
    h('label', { htmlFor: control.id }, label),
    control,
    hint && h('p', { class: 'hint', id: `${control.id}-hint` }, hint))
}

/** A drop-down list of values and their words. */
export function choice (options: Array<[value: string, words: string]>): HTMLSelectElement {
  return h('select', {}, ...options.map(([value, words]) => h('option', { value }, words)))
}

/**
 * A button that runs a task, and takes no second press until it is over. Buttons with the same `lock` wait for each
 * other.
 */
export function button (
  words: string | Node,
  task: () => unknown,
  classes = '',
  lock?: HTMLElement
): HTMLButtonElement {
  const element = h('button', { type: 'button', class: classes }, words)
  element.addEventListener('click', () => busy(lock ?? element, task))
  return element
}

/** A second press within this time belongs to a double click. */
const DOUBLE_MS = 500

/** A button that asks once more before it acts. A double click or a held key is no answer. */
export function twice (words: string, question: string, task: () => unknown, classes = 'quiet'): HTMLElement {
  let askedAt = Infinity
  const sure = h('button', { type: 'button', class: 'danger' }, question)
  const cancel = h('button', { type: 'button', class: 'quiet' }, 'Cancel')
  const first = h('button', { type: 'button', class: classes }, words)
  const ask = (isAsked: boolean) => {
    first.hidden = isAsked
    sure.hidden = cancel.hidden = !isAsked
    ;(isAsked ? sure : first).focus()
  }
  first.addEventListener('click', event => {
    askedAt = event.timeStamp
    ask(true)
  })
  for (const [element, act] of [[sure, () => busy(sure, task)], [cancel, () => ask(false)]] as const) {
    element.addEventListener('click', event => {
      if (event.detail <= 1 && event.timeStamp - askedAt >= DOUBLE_MS) act()
    })
    element.addEventListener('keydown', event => { if (event.repeat) event.preventDefault() })
  }
  sure.hidden = cancel.hidden = true
  return h('div', { class: 'twice' }, first, cancel, sure) // a double click ends on the button that does no harm
}

/** A form whose submission runs a task. Its own buttons wait until that is over. */
export function form (task: () => unknown, ...children: Child[]): HTMLFormElement {
  const element = h('form', { noValidate: true }, ...children)
  element.addEventListener('submit', event => {
    event.preventDefault()
    busy(element, task)
  })
  return element
}

const locked = new WeakSet<HTMLElement>()

/** Runs a task, one at a time for each `lock`. The buttons that wait for it keep the focus. */
export function busy (lock: HTMLElement, task: () => unknown): void {
  if (locked.has(lock)) return
  locked.add(lock)
  const buttons = [lock, ...lock.querySelectorAll('button')].filter(element => element instanceof HTMLButtonElement)
    .filter(element => !(lock instanceof HTMLFormElement) || element.type === 'submit')
  for (const element of buttons) element.ariaDisabled = 'true' // not disabled: it keeps the focus
  Promise.resolve(task()).finally(() => {
    locked.delete(lock)
    for (const element of buttons) element.ariaDisabled = null
  })
}
