import t from 'tap'
import { parseUsername, usernameKey } from '../../../services/users/username.js'
import { fieldErrorsOf } from '../../helpers/field-errors.js'
import { quoted } from '../../helpers/quoted.js'

t.test('parseUsername', async t => {
  t.test('a username is trimmed and composed to NFC', async t => {
    t.same(parseUsername('  Meera '), { username: 'Meera', key: 'meera' })
    t.equal(parseUsername('Ame\u0301lie').username, 'Am\u00e9lie')
    t.equal(parseUsername('\u00a0\u3000meera\ufeff').username, 'meera')
  })

  t.test('names that look the same have one key', async t => {
    for (const same of [
      ['meera', 'MEERA', 'Meera', 'me\u200bera', 'm\u00adeera', 'meera\u200d', '\u2060meera', 'ｍｅｅｒａ', '𝐦𝐞𝐞𝐫𝐚'],
      ['amélie', 'AME\u0301LIE', 'Ame\u0301lie'],
      ['straße', 'STRASSE', 'STRAẞE'],
      ['σίσυφος', 'ΣΊΣΥΦΟΣ', 'σίσυφοσ'],
      ['ﬁnn', 'FINN', 'finn']
    ]) t.equal(new Set(same.map(name => parseUsername(name).key)).size, 1, same.join(' '))
    t.not(parseUsername('meera').key, parseUsername('mеera').key, 'letters of another script stay others')
    t.not(parseUsername('मीरा').key, parseUsername('मिरा').key)
  })

  t.test('a key is its own key', async t => {
    for (const name of ['Meera', 'ẞ', 'İ', 'ŉ', 'ΐ', 'ﬃ', '\u1e9b\u0323', 'Dž', 'ϒ\u0308', '㎯']) {
      t.equal(usernameKey(usernameKey(name)), usernameKey(name), name)
    }
  })

  t.test('a username has 1 to 64 characters, counted as code points after trimming and composing', async t => {
    for (const name of ['a', 'x'.repeat(64), '😀'.repeat(64), 'e\u0301'.repeat(64), ` ${'x'.repeat(64)} `]) {
      t.ok(parseUsername(name).username)
    }
    for (const name of ['', ' ', '\t\n', '\u00a0', 'x'.repeat(65), '😀'.repeat(65), 'x'.repeat(10_000)]) {
      t.same(
        fieldErrorsOf(() => parseUsername(name)),
        { username: ['Length must be between 1 and 64.'] },
        quoted(name.slice(0, 10))
      )
    }
  })

  t.test('control and bidirectional characters, lone surrogates and names that cannot be seen are refused', async t => {
    for (const name of [
      'a\0b',
      'a\nb',
      'a\tb',
      'a\x1b[31mb',
      'a\x7fb',
      'a\u0085b',
      'a\u2028b',
      'a\u2029b',
      'a\u202ab',
      'a\u202bb',
      'a\u202cb',
      'a\u202db',
      'a\u202eb',
      'a\u2066b',
      'a\u2067b',
      'a\u2068b',
      'a\u2069b',
      '\ud800',
      'a\udc00',
      'a\ud83d',
      '\ude00\ud83d',
      '\u200b',
      '\u200b\u200d\u2060',
      '\u00ad',
      '\u3164',
      '\ufe0f',
      '\u200e'
    ]) t.same(fieldErrorsOf(() => parseUsername(name)), { username: ['Not a valid value.'] }, quoted(name))
    for (const name of ['मीरा', '😀', '👩‍👩‍👧', 'می‌روم', 'O’Neill', 'a b', '<script>', '$ne', '__proto__', 'null']) {
      t.ok(parseUsername(name), quoted(name))
    }
  })
})
