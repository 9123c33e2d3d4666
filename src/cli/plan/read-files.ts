import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { type CollectionTag, parseAllDocuments, type ScalarTag, type YAMLError } from 'yaml';
import { PlanError } from './plan-error.ts';

/** One document of a file. */
export interface Document {
  /** For messages: `cms.yaml, document 2`. */
  readonly where: string;
  readonly value: unknown;
}

export type Input = NodeJS.ReadableStream;

/** Levels of lists and mappings. No kind of Kubernetes comes near it; what is deeper overflows the stack of whoever walks it. */
const MAX_DEPTH = 100;
const TOO_DEEP = `is nested more than ${MAX_DEPTH} levels deep: no Kubernetes object is`;

/** Every document of `files` in their order, `-` being `stdin`. Rejects with `PlanError`. */
export async function readFiles(files: readonly string[], stdin: Input): Promise<readonly Document[]> {
  const documents: Document[] = [];
  for (const file of files) {
    const content = file === '-' ? await text(stdin) : await readText(file);
    documents.push(...parseDocuments(content, file === '-' ? 'standard input' : file));
  }
  return documents;
}

/** The one document of a file. Rejects with `PlanError`. */
export async function readDocument(file: string): Promise<unknown> {
  const [document, ...others] = parseDocuments(await readText(file), file);
  if (document === undefined || others.length > 0) {
    throw new PlanError(
      `${file} has ${others.length === 0 ? 'no document' : 'several documents'}: expected one`,
    );
  }
  return document.value;
}

/** What is written in YAML or JSON; empty documents are left out. Throws `PlanError`. */
export function parseDocuments(content: string, source: string): readonly Document[] {
  const json = parseJson(content);
  if (json !== undefined) return [bounded({ where: `${source}, document 1`, value: json })];
  // kubectl reads YAML 1.1, where `yes` is true, but knows neither its times nor its numbers with colons.
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

/** Throws `PlanError` where `document` is nested more deeply than anything that a plan reads. */
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

/** Undefined for what is no JSON of one mapping. Tabs between tokens are JSON, but no YAML. */
function parseJson(content: string): unknown {
  if (!content.trimStart().startsWith('{')) return undefined;
  try {
    return JSON.parse(content) as unknown;
  } catch {
    // YAML's flow style begins like that too; its parser says where it is wrong, without quoting a Secret.
    return undefined;
  }
}

function plain(read: () => unknown, where: string): unknown {
  try {
    return read();
  } catch (error) {
    // yaml 2.9, measured: a ReferenceError for aliases that lead nowhere, and for those that expand to too much.
    throw new PlanError(
      `${where} is not valid YAML: ${error instanceof Error ? firstLine(error.message) : 'unknown reason'}`,
    );
  }
}

/** The lines after it quote the file, which may hold a Secret. */
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
