/** The pattern of a parameter in a route. */
const PATTERN = /\([^/]*\)/g
/** One for each route, and so bounded. */
const names = new Map<string, string>()

/**
 * The name of a route for the log and the metrics, such as `/library/:id`. A path without a route is `unknown`, because
 * a typed path may hold a phone number.
 */
export function routeName (url: string | undefined): string {
  if (url === undefined) return 'unknown'
  const known = names.get(url)
  if (known !== undefined) return known
  const name = url.replace(PATTERN, '')
  names.set(url, name)
  return name
}
