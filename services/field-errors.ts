import { FieldError, invalidBody, sentences } from './errors.js'

/** One fault that a JSON Schema validator (Ajv) reports. */
export interface ValidationFault {
  keyword: string
  instancePath: string
  params: Record<string, unknown>
  /** The schema that `keyword` stands in. */
  parentSchema?: { minLength?: number, maxLength?: number }
}

/** The contract's sentences for a validator's faults, one for each field; a wrong type comes first. */
export function toFieldError (faults: ValidationFault[]): FieldError {
  if (faults.some(({ keyword, instancePath }) => instancePath === '' && keyword !== 'required')) return invalidBody()
  const errors: Record<string, string[]> = {}
  for (const fault of [...faults].sort((a, b) => Number(b.keyword === 'type') - Number(a.keyword === 'type'))) {
    const field = fieldOf(fault)
    if (!errors[field]) errors[field] = [sentence(fault)]
  }
  return new FieldError(errors)
}

const fieldOf = ({ keyword, instancePath, params }: ValidationFault) =>
  keyword === 'required' ? String(params.missingProperty) : instancePath.split('/')[1] ?? '_schema'

function sentence ({
  keyword,
  params,
  parentSchema: { minLength = 0, maxLength = Infinity } = {}
}: ValidationFault): string {
  switch (keyword) {
    case 'required': return sentences.missing
    case 'type': return sentences.type(String(params.type))
    case 'enum': return sentences.oneOf(params.allowedValues as string[])
    case 'minLength':
    case 'maxLength': return sentences.length(minLength, maxLength)
    default: return sentences.value
  }
}
