import { getCountries, getExampleNumber } from 'libphonenumber-js/max'
import examples from 'libphonenumber-js/mobile/examples'
import t from 'tap'
import { maskPhone, maskPhones, normalizePhone, parsePhone, requirePhone } from '../../services/phone.js'
import { fieldErrorsOf } from '../helpers/field-errors.js'
import { quoted } from '../helpers/quoted.js'

t.test('parsePhone', async t => {
  t.test('an assigned mobile number is told from every other', async t => {
    for (const phone of ['+919876543210', '+12025550123', '+447400123456']) {
      t.ok(parsePhone(phone, 'IN')?.isMobile, phone)
    }
    for (const phone of [
      '+911123456789', '+911234567890', '+15551234567', '+18002345678', '+80012345678', '+442071838750',
      '+445600123456', '+447640123456'
    ]) {
      t.equal(parsePhone(phone, 'IN')?.isMobile, false, phone)
    }
    t.equal(parsePhone('+14165550123', 'US')?.country, 'CA', 'a calling code is no country')
  })

  t.test('a prefix is all but six digits, and never less than the calling code', async t => {
    t.match(parsePhone('+919876543210', 'IN'), { country: 'IN', prefix: '+919876' })
    t.match(parsePhone('+12025550123', 'IN'), { country: 'US', prefix: '+12025' })
    t.match(parsePhone('+2905123', 'IN'), { country: 'SH', prefix: '+290' })
    t.match(parsePhone('+80012345678', 'IN'), { country: '+800', prefix: '+80012' })
    t.equal(parsePhone('+15551234567', 'IN')?.country, '+1')
  })
})

t.test('normalizePhone', async t => {
  const ways = [
    '9123456789',
    '09123456789',
    '919123456789',
    '+919123456789',
    '00919123456789',
    '+91 91234 56789',
    '+91 91234-56789',
    '+91-9123-456-789',
    '091234 56789',
    '0 91234 56789',
    '(+91) 9123456789',
    '+91 (0) 91234 56789',
    '(0)9123456789',
    '91234/56789',
    '91234.56789',
    '+91.91234.56789',
    '+91–91234–56789',
    '+91−91234−56789',
    '+91‐91234‑56789',
    '+91\u00a091234\u00a056789',
    '+91\u202f91234\u202f56789',
    '  +919123456789  ',
    '＋９１９１２３４５６７８９',
    '９１２３４５６７８９',
    '+91　91234　56789',
    '٩١٢٣٤٥٦٧٨٩',
    '۹۱۲۳۴۵۶۷۸۹',
    '00 91 91234 56789',
    '\n9123456789\t',
    '((9123456789))',
    '9123456789.',
    '91234·56789',
    '९१२३४५६७८९',
    '०९१२३४५६७८९',
    '+९१ ९१२३४ ५६७८९',
    '৯১২৩৪৫৬৭৮৯',
    '౯౧౨౩౪౫౬౭౮౯',
    '௯௧௨௩௪௫௬௭௮௯',
    '912345678९',
    '𝟗𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗',
    '𝟿𝟷𝟸𝟹𝟺𝟻𝟼𝟽𝟾𝟿',
    '🯹🯱🯲🯳🯴🯵🯶🯷🯸🯹'
  ]
  const none = [
    '',
    ' ',
    '+',
    '+0',
    '+0123456789',
    '+00919123456789',
    '+91',
    '91',
    '112',
    '100',
    '12345',
    'abc',
    'nine one two',
    '9123456789x12',
    '9123456789 ext. 12',
    '9123456789;ext=12',
    '9123456789#12',
    'tel:+919123456789',
    '+919123456789;phone-context=in',
    'call 9123456789',
    '9123456789 please',
    '9123456789 9123456780',
    '9123456789/9123456780',
    '++919123456789',
    '+91+9123456789',
    '91234+56789',
    '9123456789+',
    '9123456789\0',
    '\u0000',
    '\u200f+919123456789',
    '+919123456789\u200e',
    '\u202a9123456789',
    '\u200b9123456789',
    '+91\u20609123456789',
    '1234567890123456',
    '+1234567890123456',
    '+4988222901052968',
    '+999123456789',
    '0'.repeat(12),
    '9'.repeat(64),
    '9'.repeat(10_000),
    ' '.repeat(10_000),
    `${' '.repeat(10_000)}9123456789`,
    '+91 00 9123456789',
    '९१२',
    '⑨①②③④⑤⑥⑦⑧⑨',
    '⁹¹²³⁴⁵⁶⁷⁸⁹',
    '九一二三四五六七八九',
    '⁺919123456789',
    '9123456789,',
    '9123456789*',
    '1-800-FLOWERS',
    '9.1e9',
    '0x91234567',
    'null',
    '\ud800',
    '+91\ud8009123456789',
    '{"$ne":""}'
  ]

  t.test('one number in many ways is one number', async t => {
    t.ok(ways.length >= 20)
    for (const way of ways) t.equal(normalizePhone(way, 'IN'), '+919123456789', quoted(way))
  })

  t.test('an invalid number has no normal form', async t => {
    t.ok(none.length >= 30)
    for (const text of none) t.equal(normalizePhone(text, 'IN'), undefined, quoted(text.slice(0, 60)))
  })

  t.test('a number need only be possible, and a national one belongs to the region', async t => {
    t.equal(normalizePhone('+15551234567', 'IN'), '+15551234567')
    t.equal(normalizePhone('1234567890', 'IN'), '+911234567890')
    t.equal(normalizePhone('030 1234567', 'DE'), '+49301234567')
    t.equal(normalizePhone('06 1234 5678', 'IT'), '+390612345678', 'an Italian zero stays')
    t.equal(normalizePhone('9123456789', 'nowhere'), undefined)
  })

  t.test('the normal form is its own normal form in every region, for a mobile number of every country', async t => {
    const failures = getCountries().flatMap(country => {
      const number = getExampleNumber(country, examples)?.number
      return number === undefined ||
        ['IN', 'US', 'IT', 'AR', 'RU', country].every(region => normalizePhone(number, region) === number)
        ? []
        : [country]
    })
    t.same(failures, [])
  })

  t.test('a normal form is its own normal form, however many zeros stand in front', async t => {
    for (const number of ['+91009123456789', '+9109123456789', '00919123456789', '+4300790409', '+97100720837936']) {
      const once = normalizePhone(number, 'IN')
      t.equal(once === undefined ? undefined : normalizePhone(once, 'IN'), once, number)
    }
  })

  t.test('requirePhone names the field in its refusal', async t => {
    t.equal(requirePhone('9123456789', 'IN', 'number').e164, '+919123456789')
    t.same(fieldErrorsOf(() => requirePhone('x', 'IN', 'number')), { number: ['Not a valid phone number.'] })
  })
})

t.test('maskPhone and maskPhones leave the last four digits of a number', async t => {
  t.equal(maskPhone('+919876543210'), '+********3210')
  t.equal(maskPhone('+80012345'), '+****2345')
  t.equal(maskPhone('1234'), '1234')
  t.equal(
    maskPhones('E11000 dup key: { _id: "+919876543210" } on port 27017'),
    'E11000 dup key: { _id: "+********3210" } on port 27017'
  )
})
