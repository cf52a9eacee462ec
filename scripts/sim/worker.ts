// A child process that runs seeds. A crash of one world is then a message, not the end of the run.

import { runJob, type SeedJob } from './job.ts';

process.on('message', (job: SeedJob) => {
  runJob(job).then(
    (result) => process.send?.(result),
    (error: unknown) => {
      process.stderr.write(`sim worker: ${String(error)}\n`);
      process.exit(1);
    },
  );
});
