type Child = Node | string | null | undefined | false

/** What an element may be given: its own properties, attributes with a dash or `role`, classes, and listeners. */
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

/** A button that runs a task, and takes no second press until it is over. */
export function button (words: string, task: () => unknown, classes = ''): HTMLButtonElement {
  const element = h('button', { type: 'button', class: classes }, words)
  element.addEventListener('click', () => busy(element, task))
  return element
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

/** Runs a task of an element, one at a time. The focus stays where it is. */
function busy (element: HTMLElement, task: () => unknown): void {
  if (element.getAttribute('aria-busy') === 'true') return
  element.setAttribute('aria-busy', 'true')
  Promise.resolve(task()).finally(() => { element.removeAttribute('aria-busy') })
}
