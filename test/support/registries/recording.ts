import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

const FOLDER = new URL('../../fixtures/registries/', import.meta.url);

const recordingSchema = z.object({
  /** The library that registered the instances, with its version. */
  client: z.string(),
  /** The registry, with its version. */
  server: z.string(),
  answers: z.array(
    z.object({
      service: z.string(),
      /** Of the request, where the registry has several APIs. */
      path: z.string().optional(),
      /** What the client had done. */
      after: z.string(),
      headers: z.record(z.string(), z.string()),
      body: z.unknown(),
    }),
  ),
});

/** Answers of a real registry for instances that a client library of it registered. */
export type Recording = z.output<typeof recordingSchema>;

export async function readRecording(name: string): Promise<Recording> {
  return recordingSchema.parse(JSON.parse(await readFile(new URL(`${name}.json`, FOLDER), 'utf8')));
}

export async function writeRecording(name: string, recording: Recording): Promise<void> {
  const file = new URL(`${name}.json`, FOLDER);
  await writeFile(file, `${JSON.stringify(recording, null, 2)}\n`);
  process.stderr.write(`${recording.answers.length} answers in ${fileURLToPath(file)}\n`);
}
