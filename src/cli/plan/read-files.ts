import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { type CollectionTag, parseAllDocuments, type ScalarTag, type YAMLError } from 'yaml';
import { PlanError } from './plan-error.ts';

/** A YAML or JSON document in a file. */
export interface Document {
  /** For messages: `cms.yaml, document 2`. */
  readonly where: string;
  readonly value: unknown;
}

export type Input = NodeJS.ReadableStream;

/** Maximum nesting of lists and mappings. Kubernetes objects are much less deep, and recursion could overflow the stack. */
const MAX_DEPTH = 100;
const TOO_DEEP = `is nested more than ${MAX_DEPTH} levels deep, which is not supported`;

/** All documents of `files` in order. `-` stands for `stdin`. Rejects with `PlanError`. */
export async function readFiles(files: readonly string[], stdin: Input): Promise<readonly Document[]> {
  const documents: Document[] = [];
  for (const file of files) {
    const content = file === '-' ? await text(stdin) : await readText(file);
    documents.push(...parseDocuments(content, file === '-' ? 'standard input' : file));
  }
  return documents;
}

/** The only document of a file. Rejects with `PlanError`. */
export async function readDocument(file: string): Promise<unknown> {
  const [document, ...others] = parseDocuments(await readText(file), file);
  if (document === undefined || others.length > 0) {
    throw new PlanError(
      `${file} contains ${others.length === 0 ? 'no document' : 'several documents'}: expected exactly one`,
    );
  }
  return document.value;
}

/** Parses YAML or JSON and omits empty documents. Throws `PlanError`. */
export function parseDocuments(content: string, source: string): readonly Document[] {
  const json = parseJson(content);
  if (json !== undefined) return [bounded({ where: `${source}, document 1`, value: json })];
  // kubectl reads YAML 1.1, where `yes` is true, but without its timestamps and sexagesimal numbers.
  const documents = parseAllDocuments(content, { version: '1.1', customTags: withoutTimes });
  if (!Array.isArray(documents)) return [];
  return documents.flatMap((document, index) => {
    const where = `${source}, document ${index + 1}`;
    const [error] = document.errors;
    if (error !== undefined) throw new PlanError(`${where} ${yamlProblem(error)}`);
    const value = plain(() => document.toJS() as unknown, where);
    return value === null || value === undefined ? [] : [bounded({ where, value })];
  });
}

function yamlProblem({ code, message }: YAMLError): string {
  return code === 'RESOURCE_EXHAUSTION' ? TOO_DEEP : `is not valid YAML: ${firstLine(message)}`;
}

/** Returns `document`, or throws `PlanError` if it is nested too deeply. */
function bounded(document: Document): Document {
  if (isDeeper(document.value, MAX_DEPTH)) throw new PlanError(`${document.where} ${TOO_DEEP}`);
  return document;
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((part) => isDeeper(part, levels - 1));
}

function withoutTimes(tags: readonly (ScalarTag | CollectionTag | string)[]) {
  return tags.filter(
    (tag) =>
      typeof tag === 'string' ||
      !(tag.tag === 'tag:yaml.org,2002:timestamp' || ('format' in tag && tag.format === 'TIME')),
  ) as (ScalarTag | CollectionTag)[];
}

/** Undefined if `content` is not a JSON object. JSON needs its own parser because it allows tabs, which YAML does not. */
function parseJson(content: string): unknown {
  if (!content.trimStart().startsWith('{')) return undefined;
  try {
    return JSON.parse(content) as unknown;
  } catch {
    // Flow-style YAML also begins with a brace. The YAML parser reports the position without quoting a Secret.
    return undefined;
  }
}

function plain(read: () => unknown, where: string): unknown {
  try {
    return read();
  } catch (error) {
    // yaml 2.9 (measured) throws a ReferenceError for an unknown alias and for too many aliases.
    throw new PlanError(
      `${where} is not valid YAML: ${error instanceof Error ? firstLine(error.message) : 'unknown reason'}`,
    );
  }
}

/** The other lines quote the file, which may contain a Secret. */
function firstLine(message: string): string {
  return message.split('\n')[0]?.replace(/:$/, '') ?? '';
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new PlanError(
      `${file} cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'unknown reason'}`,
    );
  }
}
