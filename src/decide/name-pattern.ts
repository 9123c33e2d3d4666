import { RE2JS } from 're2js';

/** A regular expression that matches whole names, or why it cannot be used. */
export type NamePattern =
  | { readonly kind: 'usable'; matches(name: string): boolean }
  | { readonly kind: 'unusable'; readonly why: string };

/**
 * The maximum number of RE2 instructions. RE2 expands counted repetitions: `a{60}` has 60 instructions. The match time grows
 * with this number and with the length of the name. `[a-z0-9]{1,63}`, which matches any namespace name, has 127.
 */
const MAX_PROGRAM_SIZE = 500;
const MAX_PATTERNS = 1000;
/** The cache size of one pattern. */
const MAX_NAMES = 5000;

const patterns = new Map<string, NamePattern>();

/** `source` as an RE2 expression, as the API server validates it. RE2 matches in time linear in the length of the name. */
export function namePattern(source: string): NamePattern {
  const known = patterns.get(source);
  if (known !== undefined) return known;
  if (patterns.size >= MAX_PATTERNS) patterns.clear();
  const pattern = withCache(compileNamePattern(source));
  patterns.set(source, pattern);
  return pattern;
}

/** `namePattern` without caches, for expressions that are made for one namespace. */
export function compileNamePattern(source: string): NamePattern {
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
  return { kind: 'usable', matches: (name) => expression.matches(name) };
}

/** Every reconcile matches again, and there are few namespaces. */
function withCache(pattern: NamePattern): NamePattern {
  if (pattern.kind === 'unusable') return pattern;
  const answers = new Map<string, boolean>();
  return {
    kind: 'usable',
    matches(name) {
      const known = answers.get(name);
      if (known !== undefined) return known;
      if (answers.size >= MAX_NAMES) answers.clear();
      const answer = pattern.matches(name);
      answers.set(name, answer);
      return answer;
    },
  };
}
