/** What the page of one's own letters says. Pure. */

const REASONS = {
  not_a_letter: "it shows no letter",
  wrong_letter: "it is another letter than it says",
  offensive: "it may hurt somebody",
  unreadable: "it cannot be read",
  duplicate: "it repeats another one",
};
const FEW = 5; // numbers that are named one by one

/** "One letter", "1,234 letters". */
export const letters = (count) => (count === 1 ? "One letter" : `${count.toLocaleString("en")} letters`);

/** "model 3", "models 3 and 4", "9 models from 3 to 17". */
export function models(numbers) {
  if (numbers.length === 1) return `model ${numbers[0]}`;
  if (numbers.length > FEW) return `${numbers.length} models from ${numbers[0]} to ${numbers.at(-1)}`;
  return `models ${numbers.slice(0, -1).join(", ")} and ${numbers.at(-1)}`;
}

const dataSets = (count) => (count === 1 ? "one data set" : `${count} data sets`);

/** What became of a letter, line by line, beyond its state. */
export function fate({ reason, learned_by: taught, exports: held }) {
  const out = held.filter((each) => each.handed_out).length;
  return [
    reason && `because ${REASONS[reason] ?? reason}`,
    taught.length > 0 && `${models(taught)} learned from it`,
    held.length > 0 && `in ${dataSets(held.length)}${out < held.length ? `, ${out} of them handed out` : ""}`,
  ].filter(Boolean);
}

/** What is asked before some go. */
export const someQuestion = (count) => ({
  title: `Delete ${letters(count)}?`,
  text: "The drawings and all that was made of them are deleted at once and for good. A model that has already learned from them is marked and stays as it is; the next retraining starts without them.",
  yes: "Delete them",
  no: "Keep them",
});

/** What is asked before all goes. */
export function everythingQuestion({ drawings, models: taught, serving, exports: held }) {
  const learned = taught.length > 0 && `${capital(models(taught))} learned from them${serving ? `, and model ${serving} serves now` : ""}. What they learned they keep, and they are marked; the next retraining starts from one that did not.`;
  const out = held > 0 && `${capital(dataSets(held))} that may hold some ${held === 1 ? "is" : "are"} handed out no more; copies that somebody took before are beyond our reach.`;
  return {
    title: drawings === 1 ? "Delete your letter, and all about you?" : `Delete all ${letters(drawings)}, and all about you?`,
    text: [
      "The drawings, all that was made of them, and the number that stands for their giver are deleted at once and for good.",
      learned || "No model has learned from them.",
      out,
      "Download them first, if you want to keep them.",
    ].filter(Boolean).join(" "),
    yes: "Delete everything",
    no: "Keep it",
  };
}

/** What is said when all is gone. */
export const EVERYTHING_GONE = ({ drawings, models: taught, exports: held }) => [
  `Deleted: ${letters(drawings).toLowerCase()}, all that was made of ${drawings === 1 ? "it" : "them"}, and the number that stood for their giver.`,
  taught.length > 0 && `${capital(models(taught))} had learned from ${drawings === 1 ? "it" : "them"} and ${taught.length === 1 ? "is" : "are"} marked; the next retraining starts without.`,
  held > 0 && `${capital(dataSets(held))} ${held === 1 ? "is" : "are"} handed out no more.`,
].filter(Boolean).join(" ");

const capital = (words) => words[0].toUpperCase() + words.slice(1);
