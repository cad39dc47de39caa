typedef int tuner_placeholder;
