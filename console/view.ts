/** One page of the console. It stays as it is while another one is shown. */
export interface View {
  element: HTMLElement
  /** Called each time the view comes to the front. */
  show?: () => void | Promise<void>
  /** Called when the person leaves. */
  leave?: () => void
}
