/** Characters. */
export const MAX_LABEL = 255

/** Whether a value may be a label of an item: its title, its category or its `user_id`. It is stored as sent. */
export const isLabel = (value: unknown): value is string =>
  typeof value === 'string' && value.trim() !== '' && [...value].length <= MAX_LABEL && !/\p{Cs}/u.test(value)
