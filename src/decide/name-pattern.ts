import { RE2JS } from 're2js';

/** A regular expression over whole names, or why it cannot be used. */
export type NamePattern =
  | { readonly kind: 'usable'; matches(name: string): boolean }
  | { readonly kind: 'unusable'; readonly why: string };

/**
 * RE2 writes counted repetitions out, so that `a{60}` is 60 instructions. The time of one match grows with this, and with
 * the length of the name. `[a-z0-9]{1,63}`, any name of a namespace, has 127.
 */
const MAX_PROGRAM_SIZE = 500;
const MAX_PATTERNS = 1000;
/** Of one pattern. */
const MAX_NAMES = 5000;

const patterns = new Map<string, NamePattern>();

/** `source` as RE2 reads it, which is what the API server admits it by: linear in the length of the name, whatever it says. */
export function namePattern(source: string): NamePattern {
  const known = patterns.get(source);
  if (known !== undefined) return known;
  if (patterns.size >= MAX_PATTERNS) patterns.clear();
  const pattern = compile(source);
  patterns.set(source, pattern);
  return pattern;
}

function compile(source: string): NamePattern {
  let expression: RE2JS;
  try {
    expression = RE2JS.compile(source);
  } catch {
    return { kind: 'unusable', why: 'it is not a valid RE2 regular expression' };
  }
  const size = expression.programSize();
  if (size > MAX_PROGRAM_SIZE) {
    return {
      kind: 'unusable',
      why: `its repetitions make it too large (${size} instructions, and the limit is ${MAX_PROGRAM_SIZE}): use + or * instead of large counts`,
    };
  }
  // Every reconcile asks, and namespaces are few.
  const answers = new Map<string, boolean>();
  return {
    kind: 'usable',
    matches(name) {
      const known = answers.get(name);
      if (known !== undefined) return known;
      if (answers.size >= MAX_NAMES) answers.clear();
      const answer = expression.matches(name);
      answers.set(name, answer);
      return answer;
    },
  };
}
